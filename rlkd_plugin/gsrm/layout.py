"""Removes layout: marks around the tags of a structure text that belong to no field.

Layout is what a model writes for display, without content:

- marks at the beginning of a tag's line: `- `, `* `, `> `, `2. `, `### `, `| `, and `Step 2:`;
- at the end of a field, after content: lines of marks alone (`---`, `***`, `###`, `2.`),
  headings (`### Step 2`, `## The sum`), lines that only name a step (`**Step 2:**`,
  `Step 2 of 4`, and `Step 2: The sum` in a paragraph of its own), lines of a code fence that hold
  no code of this field, and `[End]` in its forms;
- a dash at a field's end, except the sign of an ion or an exponent.

Everything else is content. These look like layout and are content too:

- a field's only line: `2.`, `Step 2`, `> 5`, an answer that is one dash;
- a line after one of its own kind: the rows of a list, a triangle of stars, the border of a grid,
  numbered steps;
- code in fences with its fences, comments, `#include <x>`, a Markdown table, `---` between lines.

The rules look at a field's own text alone. So a field stays the same when it is written and read
again. Time is linear in the text's length.
"""

import re

from rlkd_plugin.gsrm.layout_lines import (
    BLANK,
    MOST,
    code_ends,
    is_fence,
    is_layout_line,
    line_begin,
)
from rlkd_plugin.gsrm.tags import CLOSING, OPENING, SPACES

MOST_PIECES = 200
"""Most pieces of layout at a field's end. More come from a model that repeats itself: content."""

_DASHES_AND_BLANK = BLANK + "-\u2013\u2014"
_AFTER_END = BLANK + "*_`.:-#"
_ENDS = frozenset(re.findall(f"[{CLOSING}*_`~.:#]", "".join(map(chr, range(0x10000)))))
_STARS = re.compile(r"(?<![*\s])[ \t]{1,3}\*{2,3}\Z")
_END = re.compile(
    rf"[{OPENING}][{SPACES}*/]{{0,4}}end(?:[{SPACES}]{{1,3}}of[\w{SPACES}]{{1,30}})?[{SPACES}*.!]{{0,4}}"
    rf"[{CLOSING}]",
    re.IGNORECASE,
)
_ION = "[A-Z][a-z]?[0-9]{0,2}"
_CHARGED = re.compile(
    rf"(?:\^[0-9]{{0,2}}|\b(?:{_ION}){{1,4}}(?: [2-4])?|\[[A-Za-z0-9()]{{2,20}}\]|"
    rf"\b(?=[A-Za-z]{{0,9}}[0-9])(?:{_ION}){{5,8}}|\be|[)\]][0-9])\Z"
)
"""The end of an answer that keeps its dash, the sign of an exponent or an ion: e^-, NO3-."""


def without_layout(text: str, signs: bool) -> str:
    """Return a field's text without the layout at its end, and without white space around it.

    Args:
        text: of a field, or longer: text after `[End]` on a line of its own is dropped.
        signs: whether a dash may be the sign of an ion, as it may in an answer.
    """
    text = text.strip(BLANK)
    last = text[-2:-1] if text.endswith(".") else text[-1:]
    if last not in _ENDS and last not in _DASHES_AND_BLANK and "\n" not in text:
        return text  # most fields: a line that ends in a word or a full stop
    text = _before_end(text).strip(BLANK)
    kept = code_ends(text) if "```" in text or "~~~" in text else {}
    end = len(text)
    for _ in range(MOST_PIECES):
        shorter = _without_last(text, end, signs, kept) if end else end
        if shorter == end:
            return text[:end]
        end = shorter
    return text


def _without_last(text: str, end: int, signs: bool, kept: dict[int, bool]) -> int:
    """Return where a text ends without the last piece of layout before `end`; `end` without one."""
    if (bare := _back(text, end, BLANK)) < end:
        return bare
    if (bare := _back(text, end, _DASHES_AND_BLANK)) < end:
        if signs and not bare and text[0] == "-" and (end == 1 or text[1] in "\r\n"):
            return 1
        signed = (
            signs and text[bare] in "-\u2013" and _CHARGED.search(text, max(0, bare - 24), bare)
        )
        return bare + 1 if signed else bare
    least = max(0, end - MOST - 1)  # of a longer line only the end is looked at: linear time
    start, last = text.rfind("\n", least, end) + 1, text[end - 1]
    whole = start > 0 or least == 0
    if whole and is_fence(text[start:end]):
        if not kept.get(start):
            return start
    elif whole and start and is_layout_line(text, start, end):
        return start
    start = max(start, least)
    if last == "*" and (stars := _STARS.search(text, max(start, end - 7), end)):
        return stars.start()
    if last in _ENDS and (mark := _END.search(text, max(start, end - 60), end)):
        ends = _ends_content(text[start : mark.start()], mark[0]) and mark.end() == end
        alone = whole and line_begin(text, mark.start()) == start
        if ends or (alone and not text[mark.end() : end].strip(_AFTER_END)):
            return mark.start()
    return end


def _back(text: str, end: int, characters: str) -> int:
    """Return where a text ends without the characters before `end`."""
    while end and text[end - 1] in characters:
        end -= 1
    return end


def _ends_content(before: str, mark: str) -> bool:
    """Return whether `[End]` after this part of a line ends the text.

    If not, it is a node of a graph, or the last element of an array: `x[end]`.
    """
    if mark == "[end]" and re.search(r"[A-Za-z_)\]}]\Z", before):
        return False
    before = before.rstrip()
    continues = before[-1:] in tuple(",;>\u2192\u21d2-=") or re.search(rf"[{OPENING}]", before)
    return not before or not continues


def _before_end(text: str) -> str:
    """Return a text up to the first `[End]` that stands on a line of its own."""
    for mark in _END.finditer(text):
        start = line_begin(text, mark.start())
        after = text[mark.end() : mark.end() + MOST].partition("\n")[0]
        if (start == 0 or text[start - 1] == "\n") and not after.strip(_AFTER_END):
            return text[:start]
    return text
