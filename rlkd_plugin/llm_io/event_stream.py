"""Joins the server-sent events of a streamed completion into one reply.

Pure. Not here: how the bytes arrive (`transport`), and how a reply is handled (`chat_client`).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from rlkd_plugin.llm_io.message_text import is_refusal, split_message

DONE = b"[DONE]"
BOM = b"\xef\xbb\xbf"

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class EventLines:
    """Reads the data of server-sent events from bytes that are split anywhere, in linear time."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the beginning of a line
        self._data: list[bytes] = []  # of an unfinished event

    def feed(self, payload: bytes) -> Iterator[bytes]:
        """Yield the data of each complete event."""
        *lines, rest = payload.split(b"\n")
        for line in lines:
            whole = b"".join([*self._line, line]).removesuffix(b"\r").removeprefix(BOM)
            self._line.clear()
            if whole.startswith(b"data:"):
                self._data.append(whole[5:].strip())
            elif not whole and self._data:
                yield self._take()
        if rest:
            self._line.append(rest)

    def end(self) -> Iterator[bytes]:
        """Yield the data of an event that the end of the stream cut off."""
        yield from self.feed(b"\n")
        if self._data:
            yield self._take()

    def _take(self) -> bytes:
        data = b"\n".join(self._data)
        self._data.clear()
        return data


class StreamedReply:
    """A completion that arrives in parts, and the same reply as a whole.

    Args:
        on_text: called with each part of the message's text when it arrives.

    Attributes:
        is_used: whether the server streamed at all.
        is_done: whether nothing more follows.
        is_whole: whether the completion is complete: it has a finish reason, or `[DONE]` came.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.is_used = False
        self.is_done = False
        self.is_whole = False
        self._on_text = on_text
        self._lines = EventLines()
        self._said: list[str] = []
        self._thought: list[str] = []
        self._refuses = False
        self._reason: Any = None
        self._usage: Any = None
        self._half = ""  # the first half of a surrogate pair
        self._plain: list[bytes] = []  # of a JSON reply labelled as a stream
        self._foreign: bytes | None = None  # data that is no part of a completion

    @property
    def broke_off(self) -> bool:
        """Whether the stream ended without a finish reason, `[DONE]` or an error."""
        return not self.is_whole and self._foreign is None

    @property
    def characters(self) -> int:
        """The number of characters so far, thinking included."""
        return sum(map(len, self._said)) + sum(map(len, self._thought))

    def feed(self, payload: bytes) -> None:
        """Read the next bytes of the body."""
        is_first, self.is_used = not self.is_used, True
        if self._plain or (is_first and payload.lstrip().startswith(b"{")):
            self._plain.append(payload)
        else:
            self._take(self._lines.feed(payload))

    def end(self) -> None:
        """Handle the end of the body."""
        self.is_used = True
        self._take(self._lines.end())
        self.is_done = True
        if self._plain:
            self._foreign = b"".join(self._plain)

    def _take(self, events: Iterator[bytes]) -> None:
        said: list[str] = []
        for data in events:
            if self.is_done:
                break
            if data == DONE:
                self.is_done = self.is_whole = True
                break
            try:
                said.append(self._take_event(json.loads(data)))
            except _MALFORMED:
                self.is_done = True
                if not self.is_whole:
                    self._foreign = data
        if text := self._join(self._half + "".join(said)):
            self._said.append(text)
            self._on_text(text)

    def _join(self, text: str) -> str:
        """Return a text with surrogate pairs joined; half a pair waits for the next part."""
        self._half = ""
        if text.isascii():
            return text
        if "\ud800" <= text[-1] <= "\udbff" and not self.is_whole:
            text, self._half = text[:-1], text[-1]
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return text

    def _take_event(self, event: Any) -> str:
        """Read one event, and return the text that it adds.

        Raises:
            ValueError: if it is no part of a completion; or another error of `_MALFORMED`.
        """
        if event.get("error") or "error" in (event.get("object"), event.get("type")):
            raise ValueError("an error")
        self._usage = event.get("usage") or self._usage
        said = ""
        for choice in (event.get("choices") or [])[:1]:
            part = choice.get("delta") or choice.get("message") or {}
            said, thought = split_message(part)
            self._thought.append(thought)
            self._refuses = self._refuses or is_refusal(part)
            self._reason = choice.get("finish_reason") or self._reason
            self.is_whole = self.is_whole or self._reason is not None
        return said

    def body(self) -> bytes:
        """Return the same reply as an unstreamed body."""
        if self._foreign is not None:
            return self._foreign
        message = {
            "role": "assistant",
            "content": "".join(self._said) + self._half,
            "reasoning_content": "".join(self._thought),
            "refusal": "refused" if self._refuses else None,
        }
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        return json.dumps({"choices": [choice], "usage": self._usage}).encode()
