"""Pure text rules: equality, neutralisation, and verdicts that need no judge.

The names of `paths` and `thinking`, which find the reasoning in a text, are exported here too. All
rules are linear in the text's length.
"""

import re
import unicodedata

from rlkd_plugin.gsrm.paths import reasoning_path, teacher_path
from rlkd_plugin.gsrm.tags import Field, escape_look_alikes, escape_tags
from rlkd_plugin.gsrm.thinking import split_thinking

__all__ = [
    "FENCES",
    "MAX_NFC",
    "break_control",
    "has_reasoning",
    "neutralise",
    "normalise",
    "obvious_verdict",
    "reasoning_path",
    "same_text",
    "split_thinking",
    "teacher_path",
]

FENCES = ("\u27e6", "\u27e7")
"""The delimiters around a content in a prompt; `neutralise` removes them from the content."""

MAX_NFC = 10_000

_FENCES_TO_ASCII = str.maketrans({FENCES[0]: "[", FENCES[1]: "]", "\0": "\ufffd"})
_SURROGATES = re.compile("[\ud800-\udfff]")
# <|im_end|>, <｜end▁of▁sentence｜>, <start_of_turn>, <s>, </s>, <think>, [INST], <<SYS>>, <eos> ...
_CONTROL = re.compile(
    r"<(?=[|\uff5c])|(?<=[|\uff5c])>|<(?=<?/?(?:s|bos|eos|eod|pad|unk|sys|sop|mask|image|think|"
    r"tool_call|tool_response|start_of_turn|end_of_turn|start_of_image|fim_(?:prefix|middle|suffix)|"
    r"system|user|assistant|role|eop|beginning_of_\w{1,9}|end_of_\w{1,9}|bos_token|eos_token|"
    r"_user|_bot|_system|_end|seed|unused|reserved|ctrl)(?:\b|[\d_:]))|"
    r"\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|THINK|[BE]OS|EOT|PAD|UNK|"
    r"CLS|SEP|g?s?MASK|IMG\w{0,9}|PREFIX|SUFFIX|MIDDLE|ARGS)\])|"
    r"\[(?=e~\[)|\](?=~!?b[\[\]])|/(?=(?:no_?)?think\b)",
    re.IGNORECASE,
)


def neutralise(text: str) -> str:
    """Return `text` as plain content for a fenced prompt, without tags and control tokens.

    Structure tags lose their brackets, chat-control tokens are broken by a space, and fence
    characters become plain brackets. Characters that UTF-8 or a tokenizer rejects (lone
    surrogates, NUL) become the replacement character.
    """
    text = _SURROGATES.sub("\ufffd", text).translate(_FENCES_TO_ASCII)
    return escape_look_alikes(escape_tags(break_control(text)))


def break_control(text: str) -> str:
    """Return `text` with chat-control tokens broken by a space; a second call changes nothing."""
    return _CONTROL.sub(lambda m: f"{m[0]} " if m[0] != ">" else " >", text)


def same_text(one: str, other: str) -> bool:
    """Return whether two texts are equal after Unicode (NFC) and white-space normalisation.

    NFC and not NFKC, which makes `x²` equal to `x2`. Texts longer than `MAX_NFC` are compared
    without NFC, which takes quadratic time for long runs of combining marks.
    """
    if one == other:
        return True
    return normalise(one) == normalise(other)


def normalise(text: str) -> str:
    """Return a text in the form that `same_text` compares: NFC up to `MAX_NFC`, single spaces."""
    return " ".join((unicodedata.normalize("NFC", text) if len(text) <= MAX_NFC else text).split())


def obvious_verdict(field: Field, teacher: str, student: str) -> bool | None:
    """Return the verdict if it needs no judge, else None.

    An empty text matches nothing; nor does a meta-reasoning or sub-problem without a letter or
    digit. Two equal texts match.
    """
    if not teacher.strip() or not student.strip():
        return False
    if field != "answer" and not (_has_word(teacher) and _has_word(student)):
        return False
    return True if same_text(teacher, student) else None


def has_reasoning(path: str) -> bool:
    """Return whether a path has anything to decompose."""
    return _has_word(path)


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))
