"""Splits a structure text at its tags into the raw texts of its fields.

Not here: which part of a field is layout (`layout`), and what makes a step (`structure`).
"""

import re
from typing import NamedTuple

from rlkd_plugin.gsrm.layout_lines import BLANK, MOST, is_layout_alone, line_begin
from rlkd_plugin.gsrm.tags import FIELDS, FINAL, OTHER_FINAL, TAG, Field, FoundTag, find_tags

_DASH = re.compile(r"\A[ \t\u00a0]{1,3}[\u2013\u2014](?=\s)")
_BELOW = re.compile(r"\s{0,9}\n\s{0,9}([^\n]{1,120})\s{0,9}\Z")
_QUOTED = re.compile(r"\n[ \t]{0,3}>[ \t]?")
_UNQUOTED = re.compile(r"\n(?![ \t]{0,3}>|[ \t]{0,9}(?:\n|\Z))")
_TABLE_RULE = re.compile(r"\n[ \t]{0,3}\|[|:\- \t]{1,120}\|?[ \t]{0,3}(?=\n|\Z)")


class Opening(NamedTuple):
    """A tag that opens a field, and where its line begins if only layout precedes the tag."""

    tag: FoundTag
    start: int


def split_final(text: str) -> tuple[str, str]:
    """Return the part of a text that holds the steps, and what follows the final answer's tag."""
    first = TAG.search(text)
    if not first:
        return text, ""
    final = FINAL.search(text, first.end()) or _other_final(text, first.end())
    if not final:
        return text, ""
    opened = re.search(r"[*_`~]{0,3}\Z", final["before"])
    decoration = opened[0] if opened else ""
    end = final.end()
    if final["outer"] and (final["inner"] or not decoration) and text[end : end + 1].strip():
        end = final.start("outer")
    rest = text[end:]
    if again := next(find_tags(rest), None):
        rest = rest[: line_begin(rest, again.start)]
    closed = final["inner"] or end > final.end("colon")
    rest = rest if closed else rest.rstrip(BLANK).removesuffix(decoration)
    return text[: final.start()], rest


def _other_final(text: str, place: int) -> re.Match[str] | None:
    """Return the match of a final answer in other words, after the last tag and its content."""
    while found := OTHER_FINAL.search(text, place):
        following = TAG.search(text, found.end())
        if following is None and not _ends_with_tag(
            text[max(0, found.start() - MOST) : found.start()]
        ):
            return found
        place = following.end() if following else found.end()
    return None


def _ends_with_tag(text: str) -> bool:
    text = text.rstrip(BLANK)
    return any(match.end() == len(text) for match in TAG.finditer(text))


def raw_fields(body: str) -> tuple[list[str], bool]:
    """Return the fields' raw texts in reading order, and whether there is no break."""
    opened, end = opening_tags(body)
    ends = [opening.start for opening in opened[1:]] + [end]
    contents = [
        content_of(body[one.tag.end : until], one.tag, body[one.start : one.tag.start])
        for one, until in zip(opened, ends, strict=bool(opened))
    ]
    return contents, end == len(body) and len(opened) % 3 == 0


def content_of(text: str, opening: FoundTag, before: str) -> str:
    """Return a field's text without the decoration that surrounds tag and text.

    Args:
        text: from the end of the tag to the next one.
        opening: the tag.
        before: the part of the tag's line before it.
    """
    if opening.unclosed:
        text = text.rstrip(BLANK).removesuffix(opening.unclosed)
    if not opening.colon:
        text = _DASH.sub("", text, 1)
    if "|" in before:
        text = _TABLE_RULE.sub("", text).strip(BLANK).strip("|")
    if ">" in before and not _UNQUOTED.search(text):
        text = _QUOTED.sub("\n", text)
    below = _BELOW.match(text)
    return "" if below and is_layout_alone(below[1].rstrip(BLANK)) else text


def opening_tags(body: str) -> tuple[list[Opening], int]:
    """Return the tags that open a field, and where reading ends: at the first break."""
    opened: list[Opening] = []
    for found in find_tags(body):
        if found.place() == place_of(len(opened)):
            opened.append(Opening(found, line_begin(body, found.start)))
        elif not is_mention(body, found):
            return opened, line_begin(body, found.start)
    return opened, len(body)


def place_of(number: int) -> tuple[Field, int]:
    """Return the field and the step that the tag after `number` others must open."""
    step, field = divmod(number, len(FIELDS))
    return FIELDS[field], step + 1


def is_mention(body: str, found: FoundTag) -> bool:
    """Return whether a tag out of order is only mentioned: "by [Answer 1] we know"."""
    line_so_far = body[max(0, found.start - 8) : found.start].rpartition("\n")[2]
    return not found.colon and bool(line_so_far.strip(BLANK + "*#>-+\u2022|_`\\"))
