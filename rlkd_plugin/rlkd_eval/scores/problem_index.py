"""Finds the problem, among many, that a prompt contains.

A chat template, a system prompt and instructions may surround it. White space does not count.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from rlkd_plugin.gsrm.texts import normalise

SIZES = (32, 16, 8, 4, 1)
"""Lengths of the prefixes by which a problem is found; the longest that it has is used."""


class ProblemIndex:
    """The problems that a prompt may contain.

    Args:
        problems: texts; two that differ in white space alone are one.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self._problems = {plain for text in problems if (plain := normalise(text))}
        self._begin: dict[int, dict[str, list[str]]] = {size: defaultdict(list) for size in SIZES}
        for plain in self._problems:
            size = next(size for size in SIZES if len(plain) >= size)
            self._begin[size][plain[:size]].append(plain)
        self._sizes = [size for size in SIZES if self._begin[size]]

    def find(self, text: str, is_prompt: bool) -> str | None:
        """Return the problem that a text is or contains, after `normalise`, or None.

        Of nested problems the longest counts. Of several in a row the last counts, since examples
        come first. A problem ends where a word ends.

        Args:
            text: a problem or a prompt.
            is_prompt: whether it may hold more than the problem.
        """
        plain = normalise(text)
        if plain in self._problems:
            return plain
        last, reached = None, 0
        for start, end in sorted(self._places(plain)) if is_prompt else ():
            if last is None or end > reached:
                last, reached = plain[start:end], end
        return last

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the places of problems in a text; of those with one start the longest."""
        longest: dict[int, int] = {}
        for size in self._sizes:
            begins = self._begin[size]
            for start in range(len(text) - size + 1):
                for problem in begins.get(text[start : start + size], ()):
                    end = start + len(problem)
                    if text.startswith(problem, start) and _is_whole(text, start, end):
                        longest[start] = max(end, longest.get(start, 0))
        yield from longest.items()


def _is_whole(text: str, start: int, end: int) -> bool:
    """Return whether no word or number crosses the ends of a part of a text."""
    return not _joins(text, start) and not _joins(text, end)


def _joins(text: str, at: int) -> bool:
    return 0 < at < len(text) and _is_of_word(text[at - 1]) and _is_of_word(text[at])


def _is_of_word(letter: str) -> bool:
    """Return whether a letter may be part of a longer word.

    Chinese, Japanese and Korean letters are wide; their words need no space between them.
    """
    return letter.isalnum() and unicodedata.east_asian_width(letter) != "W"
