"""The reasoning path of a text: a student's completion, or a teacher's reasoning.

The path ends at the mark that closes the thinking (`thinking`). Without such a mark it ends where
the answer part begins. That is at an `<answer>` that begins a line or follows a sentence, and holds
an answer. A mention ("put it into <answer> tags"), an example of the format, and a tag in quotation
marks or in code do not count. In doubt nothing is cut. Steps are compared by position, so a path
that is too long costs nothing, and one that is too short loses steps.
"""

import re

from rlkd_plugin.gsrm.thinking import (
    SPOKEN_OF,
    CodeFences,
    is_mention,
    thinking_end,
    thinking_opens,
    without_opening,
)

_ANSWER = re.compile("<answer>")
_BEGINS_PART = re.compile(r"(?:^|\n|[.!?:)}\]$\u3002\uff01\uff1f\uff1a])[ \t>#*_]{0,12}\Z")
_BEGINS_LINE = re.compile(r"(?:^|\n)[ \t>#*_]{0,12}\Z")
_ENDS_TEXT = re.compile(r"(?:[\s.*_\u3002]|<[|\uff5c][^<>\n]{1,40}[|\uff5c]>|</s>){0,200}\Z")
_NO_ANSWER = re.compile(
    r"(?:[\W_]|\b(?:your|the|my|an?|final|answer|result|solution|value|text|content|here|goes|"
    r"go|comes|and|or|to|in|with|then|put|insert|write|place)\b){1,80}\Z",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    r"[ \t]{1,3}(?:and|or|is|are|was|to|in|at|as|for|with|only|should|must|will|comes?|goes|then|"
    r"part|format|pair|later|because)\b|[ \t]{0,3}(?:\u6807\u7b7e|\u6a19\u7c64|[,;.)])"
)
_SHOWS_FORM = re.compile(
    r"\b(?:format|form|template|example|like|such as|e\.g|tags?|follows)\b[^.!?\n]{0,60}\s{0,9}\Z|"
    r"\u683c\u5f0f[^\n]{0,30}\s{0,9}\Z",
    re.IGNORECASE,
)
_REACH = 100


def reasoning_path(completion: str) -> str:
    """Return the reasoning path R of a completion.

    It is the text before the first `</think>`; without one, the text before the `<answer>` that
    begins the answer part; else the whole text. The opening `<think>` may be missing, as R1
    templates write it into the prompt. The thinking marks of other models count as well.
    """
    end = thinking_end(completion)
    return without_opening(completion[: _answer_begin(completion) if end is None else end])


def teacher_path(text: str) -> str:
    """Return a teacher's reasoning path; an `<answer>` in it is an ordinary word."""
    return without_opening(text[: thinking_end(text)])


def _answer_begin(text: str) -> int | None:
    """Return where the answer part begins, or None without one."""
    if "<answer>" not in text:
        return None
    fences, thinks, closed = CodeFences.of(text), thinking_opens(text), 0
    for match in _ANSWER.finditer(text):
        start, end = match.span()
        if 0 <= closed < end:
            closed = text.find("</answer>", end)  # once for each `</answer>`: linear time
        spoken_of = SPOKEN_OF.match(text, end) or _CONTINUES.match(text, end)
        if spoken_of or is_mention(text, start, end, fences):
            continue
        before = text[max(0, start - _REACH) : start]
        if closed < 0:
            is_answer = _is_open_answer(text, end, before)
        else:
            is_answer = _is_closed_answer(text, end, closed, before, thinks)
        if is_answer:
            decorated = _BEGINS_LINE.search(before)
            return start - (len(decorated[0]) if decorated else 0)
    return None


def _is_closed_answer(text: str, end: int, closed: int, before: str, thinks: bool) -> bool:
    """Return whether an `<answer>` begins the answer part; `closed` is where its `</answer>` is."""
    if closed - end <= 2 * _REACH and _NO_ANSWER.match(text[end:closed]):
        return False
    if _ENDS_TEXT.match(text, closed + len("</answer>")):
        return True
    return bool(_BEGINS_PART.search(before)) and not thinks and not _SHOWS_FORM.search(before)


def _is_open_answer(text: str, end: int, before: str) -> bool:
    """Return whether an `<answer>` without its `</answer>` holds an answer."""
    if _BEGINS_LINE.search(before):
        return True
    rest = text[end : end + 2 * _REACH + 1].strip()
    return bool(_BEGINS_PART.search(before)) and len(rest) <= 2 * _REACH and "\n" not in rest
