"""Separates the text and the thinking of a chat message, in all shapes that servers use.

Pure. Not here: marks of thinking inside a text (`gsrm.thinking`).
"""

from collections.abc import Mapping
from typing import Any

THINKING_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Keys of thinking outside the content; the first one with text counts."""

_TEXT_KEYS = ("text", "thinking", "reasoning", "content", "summary", "value")


def split_message(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a message's content, and its thinking.

    The content is a text or a list of parts: texts, objects with a text, and thinking. Parts of
    other kinds (images, calls) are skipped.

    Raises:
        TypeError: if the content is neither.
    """
    content = message.get("content")
    if content is None or isinstance(content, str):
        said, thought = content or "", ""
    elif isinstance(content, list | dict):
        parts = content if isinstance(content, list) else [content]
        said = "".join(_text(part) for part in parts if _kind(part) == "text")
        thought = "".join(_text(part) for part in parts if _kind(part) == "thinking")
    else:
        raise TypeError("the content is no text")
    apart = next(filter(None, (_text(message.get(key)) for key in THINKING_KEYS)), "")
    return said, apart or thought


def is_refusal(message: Mapping[str, Any]) -> bool:
    """Return whether a message has a refusal, in a field or a part of its own."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return bool(message.get("refusal")) or any(_kind(part) == "refusal" for part in parts)


def _kind(part: Any) -> str:
    """Return the kind of a part: "text", "thinking", "refusal", or "" for any other."""
    if isinstance(part, str):
        return "text"
    if not isinstance(part, dict):
        return ""
    kind = str(part.get("type") or "text").lower()
    if part.get("thought") is True:  # a flag on a text
        return "thinking"
    if "think" in kind or "reason" in kind or "thought" in kind:
        return "thinking"
    return {"text": "text", "output_text": "text", "refusal": "refusal"}.get(kind, "")


def _text(value: Any) -> str:
    """Return all text of a value, which may be nested; empty if it has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict):
        return next(filter(None, (_text(value.get(key)) for key in _TEXT_KEYS)), "")
    return ""
