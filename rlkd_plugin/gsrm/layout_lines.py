"""Recognises lines that are layout: marks, headings, names of steps, fences.

`layout` defines layout, and applies this to the fields of a text.
"""

import re

from rlkd_plugin.gsrm.tags import CLOSING, HYPHENS, OPENING, SPACES

BLANK = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""Characters stripped from both ends of a field."""

MOST = 120
"""Longest line, in characters, that can be layout."""

_SIGNS = (
    r"#>*+=_~`\\\u2022\u00b7\u25aa\u25cf\u25cb\u25a0\u25a1\u25b6\u25b8\u25ba\u25c6\u27a4"
    r"\u2023\u2500\u2501\u2550\u25e6\u2e3a\u2e3b\U0001f536-\U0001f539" + HYPHENS
)
_NUMBER = r"\(?[0-9\uff10-\uff19]{1,3}(?:\.[0-9]{1,3}){0,3}\\?[.)\uff09\uff0e\u3001]"
_MARKS = rf"(?:[{_SIGNS}{SPACES}]|{_NUMBER})"
_WORDS = "one|two|three|four|five|six|seven|eight|nine|ten"
_COUNT = rf"(?:[0-9\uff10-\uff19]{{1,3}}|{_WORDS})"
_NUMBERED = re.compile(_COUNT, re.IGNORECASE)
_STEP = (
    rf"(?:(?:step|schritt|\u00e9tape|paso|\u0448\u0430\u0433|\u6b65[\u9aa4\u9a5f]|\u30b9\u30c6\u30c3\u30d7|"
    r"\ub2e8\uacc4)"
    rf"[{SPACES}]{{0,3}}#?{_COUNT}(?:[{SPACES}]{{0,3}}(?:of|/|von|de|sur)[{SPACES}]{{0,3}}{_COUNT})?"
    r"|\u7b2c[0-9\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341]{1,3}\u6b65)"
)
_MARKS_ALONE = re.compile(rf"{_MARKS}{{1,{MOST}}}\Z")
_NUMBER_ALONE = re.compile(rf"[{SPACES}]{{0,9}}{_NUMBER}\Z")
_STEP_ALONE = re.compile(
    rf"{_MARKS}{{0,12}}[{OPENING}(]?{_STEP}[{CLOSING})]?[{SPACES}]{{0,2}}[.:\uff1a]?{_MARKS}{{0,80}}\Z",
    re.IGNORECASE,
)
_STEP_BEGINS = re.compile(rf"{_MARKS}{{0,12}}[{OPENING}(]?{_STEP}\b", re.IGNORECASE)
_HEADING = re.compile(  # a single # may begin a comment of a program
    r"[ \t>]{0,9}(?:#{2,6}[ \t]|#[ \t]{1,3}\*{0,3}(?=step\b|meta|sub-|answer\b))", re.IGNORECASE
)
_BOLD_STEP = re.compile(rf"[ \t]{{0,9}}\*\*{_STEP}\b[^*]{{0,99}}\*\*[:\uff1a]?\Z", re.IGNORECASE)
_TITLED_STEP = re.compile(rf"{_STEP}[{SPACES}]{{0,2}}[:\uff1a\u2013\u2014-]", re.IGNORECASE)
_STEP_LINE = re.compile(rf"^{_MARKS}{{0,12}}{_STEP}\b", re.IGNORECASE | re.MULTILINE)
_FINAL_ALONE = re.compile(
    rf"{_MARKS}{{0,12}}final[{SPACES}]{{1,3}}answer[{SPACES}]{{0,2}}[:\uff1a]?{_MARKS}{{0,12}}\Z",
    re.IGNORECASE,
)
_HTML = re.compile(r"[ \t]{0,9}(?:<(?:br|hr) ?/?>|&nbsp;)[ \t]{0,9}\Z", re.IGNORECASE)
_RULE = re.compile(r"[ \t]{0,9}(?:\*[ *]+\*|_[ _]+_|=[ =]+=|~[ ~]+~|[\u2500\u2501\u2550]+)\Z")
_FENCE = re.compile(
    r"[ \t>]{0,12}(`{3,9}|~{3,9})[ \t]{0,9}([^\s`*]{0,20})[ \t]{0,9}\*{0,3}[ \t]{0,9}\Z"
)
_FENCE_LINE = re.compile(_FENCE.pattern.replace(r"\Z", "$").join(("^", "")), re.MULTILINE)
_PICTURE = r"[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f300-\U0001faff]"
_BEFORE_TAG = re.compile(
    rf"(?:{_MARKS}|[|\u2460-\u2473]|{_PICTURE}|[0-9]\ufe0f?\u20e3|\[[ xX\u2713]\](?=[{SPACES}])|"
    rf"\(?[A-Za-z]{{1,4}}[.)](?=[{SPACES}])|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{1,3}}"
    rf"(?=[{SPACES}*])){{0,{MOST}}}\Z"
)


def line_begin(text: str, place: int) -> int:
    """Return where a tag's line begins if only layout precedes the tag, else `place`."""
    start = text.rfind("\n", max(0, place - MOST), place) + 1
    if start == place or (not start and place > MOST):
        return place
    before = text[start:place]
    alone = _BEFORE_TAG.match(before) or _STEP_ALONE.match(before)
    return start if alone or _HEADING.match(before) else place


def is_layout_line(text: str, start: int, end: int) -> bool:
    """Return whether a line with content above it and nothing below it is layout."""
    line = text[start:end]
    if _HEADING.match(line) or not line.strip("> \t"):
        return True
    if _HTML.match(line) or _FINAL_ALONE.match(line):
        return True
    above = text[max(0, start - 1 - MOST) : start - 1].rpartition("\n")[2]
    if _TITLED_STEP.match(line) and not above.strip():
        earlier = list(_STEP_LINE.finditer(text, max(0, start - 10 * MOST), start))
        return not earlier or not _follows(earlier[-1][0], line)
    if _STEP_ALONE.match(line) or _BOLD_STEP.match(line):
        return not (_STEP_BEGINS.match(above) and _follows(above, line))
    if not _MARKS_ALONE.match(line):
        return False
    if _NUMBER_ALONE.match(line):
        return not (_NUMBER_ALONE.match(above) and _follows(above, line))
    return not _is_drawn(line.strip(), above.strip())


def is_fence(line: str) -> bool:
    """Return whether a line opens or closes fenced code."""
    return bool(_FENCE.match(line))


def is_layout_alone(line: str) -> bool:
    """Return whether a line after a tag is no field's text: a heading or a horizontal rule."""
    return len(line) <= MOST and bool(_HEADING.match(line) or _RULE.match(line))


def code_ends(text: str) -> dict[int, bool]:
    """Map the start of each line that closes fenced code to whether there is code inside."""
    kept: dict[int, bool] = {}
    opened: tuple[int, int, str] | None = None
    for match in _FENCE_LINE.finditer(text):
        marks = match[1]
        if opened is None:
            opened = match.start(), match.end(), marks
        elif not match[2] and marks.startswith(opened[2]):
            inside = text[opened[1] : match.start()]
            kept[match.start()] = _has_content(inside, opened[0] == 0)
            opened = None
    return kept


def _has_content(inside: str, alone: bool) -> bool:
    """Return whether there is code between two fences, and not only layout between steps."""
    inside = inside.strip(BLANK)
    if alone or len(inside) > 2 * MOST:
        return bool(inside)
    lines = filter(None, map(str.strip, inside.split("\n")))
    return not all(
        is_layout_alone(one) or _STEP_ALONE.match(one) or not one.strip("-") for one in lines
    )


def _is_drawn(line: str, above: str) -> bool:
    """Return whether a line of marks is part of a drawing, such as the border of a grid."""
    sign = line[:1]
    if "+" in line and " " not in line and len(set(line)) > 1:
        return True
    framed = bool(above) and sign in above[0] + above[-1]
    return framed and (sign != "*" or not any(map(str.isalnum, above)))


def _follows(above: str, line: str) -> bool:
    """Return whether a line's number follows that of the line above it, as in a list."""
    one, two = (_NUMBERED.search(text) for text in (above, line))
    return not one or not two or _number(one[0]) + 1 == _number(two[0])


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else _WORDS[: _WORDS.index(text.lower())].count("|") + 1
