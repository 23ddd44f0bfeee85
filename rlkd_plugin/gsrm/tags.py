"""The tags of a structure text: the one source for renderer, parser, prompts and escaping.

The canonical form is that of Figure 2 of the paper:

    [Meta-reasoning 1]: ...
    [Sub-problem 1]: ...
    [Answer 1]: ...
    So the final answer is: ...

Models also write look-alikes: brackets, hyphens, spaces and colons of other scripts, full-width
letters and digits, bold and code marks. `find_tags` reads them all, and `escape_tags` escapes what
it reads. Every quantifier is bounded, so that a scan takes constant time a character even in a
hostile text.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

Field = Literal["meta_reasoning", "sub_problem", "answer"]

FIELDS: tuple[Field, ...] = get_args(Field)
"""The fields of a step in the order in which they are written and compared."""

NAMES: dict[Field, str] = {
    "meta_reasoning": "Meta-reasoning",
    "sub_problem": "Sub-problem",
    "answer": "Answer",
}

ALIASES: dict[str, Field] = {
    # Written by published GSRMs: the reference prompts misspell the first and train the others.
    "meat-reasoning": "meta_reasoning",
    "sub-think": "meta_reasoning",
    "query": "sub_problem",
}
ALIASES |= {name.lower(): field for field, name in NAMES.items()}

_FIELD_OF: dict[str, Field] = {alias.replace("-", ""): field for alias, field in ALIASES.items()}
_FIELD_OF |= {name: field for field, name in NAMES.items()}

FINAL_ANSWER = "So the final answer is:"

OPENING = (
    r"\[\uff3b\u3010\u3014\u3016\u3018\u301a\u27e6\u2045\u2772\ufe5d\ufe3b\u2997"
    r"\u300c\u300e\uff62\u3008\u300a"
)
CLOSING = (
    r"\]\uff3d\u3011\u3015\u3017\u3019\u301b\u27e7\u2046\u2773\ufe5e\ufe3c\u2998"
    r"\u300d\u300f\uff63\u3009\u300b"
)
"""Brackets that models write in place of [ and ], as members of a character class."""

SPACES = (
    r" \t\u00a0\u00ad\u034f\u061c\u1680\u180e\u2000-\u200f\u202a-\u202f\u205f-\u2064"
    r"\u2066-\u2069\u3000\ufeff"
)
"""Spaces and characters without width, as members of a character class."""

HYPHENS = r"\-\u00ad\u02d7\u058a\u1806\u2010-\u2015\u2043\u207b\u2212\u30fc\ufe58\ufe63\uff0d"
COLONS = r":\u02d0\u02f8\u0589\u2236\ua789\ufe13\ufe55\uff1a"
DECORATION = "*_`~"
"""Marks of bold, italic and code that may surround a tag."""


def spell(word: str) -> str:
    """Return an expression for a word in ASCII or full-width letters, in any letter case."""
    invisible = r"[\u00ad\u200b-\u200d\u2060\ufeff]{0,2}"
    wide = ord("\uff41") - ord("a")
    return invisible.join(
        f"[{c}{chr(ord(c) + wide)}{chr(ord(c.upper()) + wide)}]" for c in word.lower()
    )


def _name(alias: str) -> str:
    return rf"[{HYPHENS}{SPACES}_]{{0,3}}".join(map(spell, alias.split("-")))


_FLAGS = re.IGNORECASE | re.ASCII  # ASCII: else a long s would match s
_GAP = rf"[{SPACES}*_#]{{0,6}}"
TAG = re.compile(
    rf"[{OPENING}]{_GAP}(?P<name>" + "|".join(map(_name, ALIASES)) + rf")(?:[{HYPHENS}]|{_GAP})"
    rf"(?P<number>[0-9\uff10-\uff19]{{1,4}}){_GAP}(?P<within>[{COLONS}]?)\\?[{CLOSING}]"
    rf"(?:(?P<inner>[{DECORATION}]{{0,3}})[{SPACES}]{{0,3}}(?P<colon>[{COLONS}]))?"
    rf"(?P<outer>[{DECORATION}]{{0,3}})",
    _FLAGS,
)
_ENDS_TAG = re.compile(rf"[^{DECORATION}{SPACES}{COLONS}]")
_LONGEST_COLON = 7
"""Characters between a tag's bracket and the end of a colon that may follow it."""
_DECORATION = DECORATION + "\\"
_UNDECORATED = frozenset(["", "\n", " "])
_CLOSES = re.compile(r"[^\W_]|[)\]}$%]")
_SPACE = rf"[{SPACES}]{{1,3}}"
_PHRASE = _SPACE.join(map(spell, ("the", "final", "answer", "is")))
_MARK = rf"(?:[{SPACES}#>+|\\\u2022{HYPHENS}{DECORATION}{OPENING}]|[0-9]{{1,2}}[.)])"
_LINE = rf"^(?P<before>{_MARK}{{0,12}})"
_CLOSE = rf"(?P<close>[{CLOSING}]?)(?P<inner>[{DECORATION}]{{0,3}})[{SPACES}]{{0,3}}"
_OUTER = rf"(?P<outer>[{DECORATION}]{{0,3}})"
FINAL = re.compile(
    rf"{_LINE}(?P<phrase>{spell('so')}(?:[,\uff0c][{SPACES}]{{0,3}}|{_SPACE}){_PHRASE})"
    rf"{_CLOSE}(?P<colon>[{COLONS}]?){_OUTER}",
    _FLAGS | re.MULTILINE,
)
OTHER_FINAL = re.compile(
    rf"{_LINE}(?P<phrase>(?:{spell('the')}{_SPACE})?{spell('final')}{_SPACE}{spell('answer')}"
    rf"(?:{_SPACE}{spell('is')})?|(?:\u6240\u4ee5|\u56e0\u6b64)?[,\uff0c]?\u6700\u7ec8\u7b54\u6848[\u662f\u4e3a]?)"
    rf"{_CLOSE}(?P<colon>[{COLONS}]|$){_OUTER}",
    _FLAGS | re.MULTILINE,
)
"""The final answer in other words, with a colon or alone on its line: `**Final Answer:** 19`.

It counts only after the last tag, as a step may mention its final answer.
"""

# Not read as a tag by the parser, but perhaps by a model: [Answer 1e5], [Answer in step 1], [End]
_LOOK_ALIKE = re.compile(
    rf"[{OPENING}](?=[\W_]{{0,4}}(?:(?:"
    + "|".join(name.replace("-", r"[\W_]{0,3}") for name in ALIASES)
    + rf")[\W_]{{0,8}}[^\W_A-Za-z]|End(?: of [\w ]{{1,30}})?[\W_]{{0,4}}[{CLOSING}]))",
    re.IGNORECASE,
)
_STOP = re.compile(r"\W{1,5}end\b", re.IGNORECASE)


class FoundTag(NamedTuple):
    """A tag in a text.

    Attributes:
        start: where it begins, with its decoration.
        end: where its field's text begins.
        name: as it is written.
        number: as it is written.
        colon: as it is written; empty where there is none.
        unclosed: decoration that opens before the tag and does not close: `**[Answer 1]: 24**`.
    """

    start: int
    end: int
    name: str
    number: str
    colon: str
    unclosed: str

    def place(self) -> tuple[Field, int]:
        """Return the field that the tag opens, and the number of its step."""
        field = _FIELD_OF.get(self.name)
        if field is None:
            letters = unicodedata.normalize("NFKC", self.name).lower()
            field = _FIELD_OF[re.sub("[^a-z]", "", letters)]
        return field, int(self.number)


def tag(field: Field, number: int) -> str:
    """Return the canonical tag of a field, `[Sub-problem 2]:`."""
    return f"[{NAMES[field]} {number}]:"


def find_tags(text: str) -> Iterator[FoundTag]:
    """Yield the tags of a text in order, canonical ones and look-alikes."""
    end = 0
    for match in TAG.finditer(text):
        found = found_tag(text, match, end)
        yield found
        end = found.end


def found_tag(text: str, match: re.Match[str], least: int) -> FoundTag:
    """Return the tag of a match of `TAG`, with its decoration, from `least` on at the earliest."""
    start = match.start()
    name, number, within, inner, colon, outer = match.groups()
    colon = colon or within
    if not inner and not outer and text[start - 1 : start] in _UNDECORATED:
        return FoundTag(start, match.end(), name, number, colon, "")
    start = decoration_start(text, start, least)
    opened = text[start : match.start()].strip("\\")
    end, closed = _closing(text, match, opened)
    return FoundTag(start, end, name, number, colon, "" if closed else opened)


def is_settled(text: str, match: re.Match[str]) -> bool:
    """Return whether the match of a tag stays the same, whatever text follows.

    After its colon a tag may still close its decoration; without a colon, one may still follow.
    """
    end = match.end()
    if match["colon"]:
        return end < len(text)
    return end + _LONGEST_COLON < len(text) or bool(_ENDS_TAG.match(text, end))


def decoration_start(text: str, place: int, least: int = 0) -> int:
    """Return where the decoration directly before a place begins; one that ends a word is none."""
    start = place
    while start > max(least, place - 4) and text[start - 1] in _DECORATION:
        start -= 1
    return place if start < place and _CLOSES.match(text[start - 1 : start]) else start


def _closing(text: str, match: re.Match[str], opened: str) -> tuple[int, str]:
    """Return where a tag ends, and the decoration that closes there."""
    inner, outer, end = match["inner"] or "", match["outer"], match.end()
    if outer and ((opened and not inner) or not text[end : end + 1].strip()):
        return end, inner or outer
    return match.start("outer"), inner


def escape_tags(text: str) -> str:
    """Return `text` with round brackets for every tag, so that no parser reads a step there."""
    if not TAG.search(text):
        return text
    parts, end = [], 0
    for found in find_tags(text):
        parts += text[end : found.start], f"({found.name} {found.number}){found.colon}"
        end = found.end
    return "".join([*parts, text[end:]])


def escape_look_alikes(text: str) -> str:
    """Return `text` with a round opening bracket for all that looks like a tag to a model."""
    return _LOOK_ALIKE.sub("(", text)


def unread_tag(text: str) -> str | None:
    """Return the first text that looks like a tag but is none, or None.

    It is written in ASCII, so that its odd characters show: `[Answer \\u0661]`.
    """
    for match in _LOOK_ALIKE.finditer(text):
        line = text[match.start() : match.start() + 40].partition("\n")[0]
        if not TAG.match(text, match.start()) and not _STOP.match(line):
            return ascii(line).strip("'")
    return None
