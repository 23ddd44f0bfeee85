"""The marks that open and close a model's thinking, and when they count as marks.

A mark in quotation marks or in code is only mentioned, and does not count. All rules look at a
bounded neighbourhood of a mark, so they are linear in the text's length. Not here: which part of a
completion is the reasoning path (`paths`).
"""

import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass

_XML = r"(?:think(?::\w{1,20})?|thinking|thoughts?|reasoning|(?:seed|mm):think|ifm\|think\w{0,8})"
_CHANNEL = r"[^<\n]{0,60}(?:<\|constrain\|>[^<\n]{0,20})?<\|message\|>"
# Each alternative begins with a fixed character, so that re finds candidates quickly
_OPENING = re.compile(
    "|".join(
        (
            rf"<{_XML}>",
            r"\[THINK\]",
            "\u25c1think\u25b7",
            r"<\|(?:START_THINKING|begin_of_thought|plamo:begin_think:plamo|inner_prefix)\|>",
            r"<\|content_thinking\|>",
            r"<\|open\|>\s{0,3}think\s{0,3}<\|sep\|>",
            r"<\|channel>(?:thought\n)?",
            r"\[unused16\]",
            # harmony: only the channel `final` is for the user
            r"<\|start\|>assistant<\|channel\|>(?:analysis|commentary)" + _CHANNEL,
            r"<\|channel\|>(?:analysis|commentary)" + _CHANNEL,
        )
    )
)
_CLOSING = re.compile(
    "|".join(
        (
            rf"</{_XML}>",
            r"\[/THINK\]",
            "\u25c1/think\u25b7",
            r"<\|(?:END_THINKING|end_of_thought|plamo:end_think:plamo|inner_suffix)\|>",
            r"<\|close\|>\s{0,3}think\s{0,3}<\|sep\|>",
            r"<channel\|>",
            r"\[unused17\]",
            r"<\|end\|>(?:<\|start\|>assistant)?<\|channel\|>final" + _CHANNEL,
            r"<\|start\|>assistant<\|channel\|>final" + _CHANNEL,
            r"<\|channel\|>final" + _CHANNEL,
        )
    )
)
_SIGNS = ("<", "[", "\u25c1")
"""First characters of the marks."""
# Words that open the thinking at the beginning of a text, and words that close it: harmony whose
# control tokens a server dropped, "analysisWe add.assistantfinalThe sum is 5", and the sentences
# of Granite 3.2
_WORDS = (
    (
        re.compile(r"\s{0,9}(?:assistant)?analysis(?=[^\sa-z:.,;!?)-])"),
        re.compile("assistantfinal"),
    ),
    (
        re.compile(r"\s{0,9}Here(?:'s| is) my thought process:"),
        re.compile(r"Here(?:'s| is) my response:"),
    ),
)
_NEXT_MESSAGE = re.compile(
    r"<\|end\|>(?:(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)" + _CHANNEL + ")?"
)
_SAID_BEGINS = re.compile(
    r"\s{0,9}(?:<\|START_(?:RESPONSE|TEXT)\|>|<\|begin_of_solution\|>|<response>|"
    r"<\|content_text\|>|<\|open\|>\s{0,3}response\s{0,3}<\|sep\|>)"
)
_SAID_ENDS = re.compile(
    r"(?:\s{0,9}(?:<\|END_(?:RESPONSE|TEXT)\|>|<\|end_of_solution\|>|</response>|<\|return\|>|"
    r"<\|end\|>|<turn\|>|<\|close\|>\s{0,3}(?:response|message)\s{0,3}<\|sep\|>)){1,4}\s{0,9}$"
)
SPOKEN_OF = re.compile(r"[ \t]{1,3}(?:tags?|marks?|markers?|tokens?|blocks?|elements?|sections?)\b")
"""The text after a mark that is only mentioned: "put it into <answer> tags"."""

REACH = 200
"""Characters on each side of a mark, on its line, that are searched for quotation marks."""

_QUOTES = (
    "\u201c\u201d",
    "\u201e\u201c",
    "\u2018\u2019",
    "\u00ab\u00bb",
    "\u300c\u300d",
    "\u300e\u300f",
)
# Not for empty thinking at the beginning of a text
_NAMED_BEFORE = re.compile(
    rf"\S[ \t]{{1,3}}<{_XML}>"
    r"(?:[ \t]{0,3}(?:and|or|to|,|/|\.{2,3}|\u2026|-|\u548c|\u4e0e))?[ \t]{0,3}\Z"
)
_IN_WORD = re.compile("[A-Za-z0-9]")
_ENDS_WORD = re.compile(r"[A-Za-z0-9.,;!?)\]}]")
_FENCE = re.compile(r"^[ \t>]{0,12}(?:`{3,9}|~{3,9})[ \t]{0,9}(\S{0,20})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CodeFences:
    """The lines of a text that open or close fenced code: their starts and languages."""

    starts: list[int]
    languages: list[str]

    @classmethod
    def of(cls, text: str) -> "CodeFences":
        """Return the fences of a text."""
        found = list(_FENCE.finditer(text)) if "```" in text or "~~~" in text else []
        return cls([fence.start() for fence in found], [fence[1] for fence in found])

    def hold(self, place: int) -> bool:
        """Return whether a place is inside fenced code that is closed after it.

        Thinking may end inside code that is never closed. The next fence then opens code of the
        reply: it names a language, or has a partner.
        """
        index = bisect(self.starts, place)
        following = len(self.starts) - index
        if index % 2 == 0 or not following or self.languages[index]:
            return False
        return following % 2 == 1 or bool(self.languages[index + 1])


def split_thinking(text: str) -> tuple[str, str]:
    """Return a model's thinking and the reply after it, both without the marks.

    The opening mark may be missing, as chat templates write it into the prompt. The last closing
    mark counts. Without a closing mark there is no reply yet. A text without any mark is a reply.
    """
    if not any(sign in text for sign in _SIGNS) and not thinking_opens(text):
        return "", text.strip()  # a judge's word: nearly every reply
    fences = CodeFences.of(text)
    start, end = 0, 0
    for start, end in _closings(text, fences):  # noqa: B007  the last pair is used
        pass
    if _opens_after(text, end, fences):
        return without_opening(text), ""
    if not end:
        return "", text.strip()
    begins = _SAID_BEGINS.match(text, end)
    said = text[begins.end() if begins else end :]
    if ends := _SAID_ENDS.search(said, max(0, len(said) - REACH)):
        said = said[: ends.start()]
    return without_opening(text[:start]), said.strip()


def thinking_end(text: str) -> int | None:
    """Return the position of the first closing mark, or None without one."""
    return next((start for start, _ in _closings(text, CodeFences.of(text))), None)


def without_opening(text: str) -> str:
    """Return the thinking without its opening mark and without surrounding white space."""
    text = text.strip()
    opening = _OPENING.match(text) or next(filter(None, (o.match(text) for o, _ in _WORDS)), None)
    return _NEXT_MESSAGE.sub("\n", text[opening.end() :]).strip() if opening else text


def thinking_opens(text: str) -> bool:
    """Return whether a text begins with an opening mark."""
    return bool(_OPENING.match(text.lstrip()) or any(opens.match(text) for opens, _ in _WORDS))


def is_mention(text: str, start: int, end: int, fences: CodeFences) -> bool:
    """Return whether a mark is only mentioned, in quotation marks or in code."""
    before = text[max(0, start - REACH) : start].rpartition("\n")[2]
    after = text[end : end + REACH].partition("\n")[0]
    if before.count("`") % 2 and "`" in after:
        return True
    if any(before.rfind(one) > before.rfind(other) and other in after for one, other in _QUOTES):
        return True
    if before.count('"') % 2 and _between(before, after, '"'):
        return True
    return _between(before, after, "'") or fences.hold(start)


def _between(before: str, after: str, quote: str) -> bool:
    """Return whether the nearest straight quotes open before a mark and close after it."""
    opening, closing = before.rfind(quote), after.find(quote)
    if opening < 0 or closing < 0:
        return False
    opens = not _ENDS_WORD.match(before[:opening][-1:]) and before[opening + 1 : opening + 2] != " "
    closes = after[:closing][-1:] != " " and not _IN_WORD.match(after, closing + 1)
    return opens and closes


def _closings(text: str, fences: CodeFences) -> Iterator[tuple[int, int]]:
    """Yield start and end of each closing mark."""
    pattern = next((close for opening, close in _WORDS if opening.match(text)), _CLOSING)
    for match in pattern.finditer(text):
        start, end = match.span()
        if not is_mention(text, start, end, fences) and not _is_named(text, start, end):
            yield start, end


def _is_named(text: str, start: int, end: int) -> bool:
    """Return whether a closing mark is only mentioned: "</think> tags", "<think> and </think>"."""
    return bool(SPOKEN_OF.match(text, end) or _NAMED_BEFORE.search(text, max(0, start - 60), start))


def _opens_after(text: str, place: int, fences: CodeFences) -> bool:
    """Return whether an opening mark follows a position."""
    if place == 0 and any(opening.match(text) for opening, _ in _WORDS):
        return True
    return any(
        not is_mention(text, match.start(), match.end(), fences)
        and not SPOKEN_OF.match(text, match.end())
        for match in _OPENING.finditer(text, place)
    )
