r"""The `solution` of a row: a gold answer in a box that ms-swift's `accuracy` can compare.

A gold is rewritten in the notation that math-verify reads (`gold_texts`). Then it must be equal to
itself as a completion. A gold that is read as a mere text is compared word by word: enough for a
word, but not for anything with a number or a sign.
"""

import re
import unicodedata
from functools import lru_cache

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.gold_signs import TwoReadings, closing
from rlkd_plugin.rlkd_data.rows.gold_texts import plain_notation

LONGEST_GOLD = 200
DEEPEST_GOLD = 12
"""Maximum characters and nested brackets of a gold answer. Beyond them math-verify needs seconds
for each completion, and its time-outs would depend on how busy the machine is."""

STRICT = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        nits=False,
        malformed_operators=False,
        basic_latex=True,
        boxed=True,  # pyright: ignore[reportArgumentType]  # what ms-swift's `accuracy` gives
        units=True,
    ),
    boxed_match_priority=0,
    try_extract_without_anchor=False,
)
"""How ms-swift's `accuracy` reads a completion that has no answer tags."""

_ARGUMENT = r" *([0-9a-zA-Z]|\\pi|\{(?:[^{}]|\{[^{}]*\})*\})"
_SHORT_ROOT = re.compile(r"\\sqrt *([0-9a-zA-Z]|\\pi)")
_SHORT_FRACTION = re.compile(rf"\\([dt]?frac)(?![a-zA-Z]){_ARGUMENT}{_ARGUMENT}")
_BOX = re.compile(r"\\boxed *\{")
_MATHEMATICAL = re.compile(r"[\d\\^_=<>+*/|]")


class NormalisedGold(str):
    """A solution in another notation than its source's; jobs count these."""

    __slots__ = ()


def boxed(answer: str) -> str:
    r"""Return `\boxed{answer}` in the notation that math-verify reads; a `NormalisedGold` if new.

    Raises:
        FormatError: if the answer has two readings.
    """
    braced = _brace_arguments(answer.strip())
    if len(braced) > LONGEST_GOLD:  # too long to verify
        return in_box(braced)
    plain = plain_notation(braced)
    return in_box(plain) if plain == braced else NormalisedGold(in_box(plain))


def in_box(answer: str) -> str:
    r"""Return `\boxed{answer}` with the arguments of fractions and roots in braces.

    ms-swift's `accuracy` reads the shorthand `\frac43` in a gold, but not in a completion without
    answer tags: the gold itself would be a wrong answer.
    """
    return f"\\boxed{{{_brace_arguments(answer)}}}"


def rebox(solution: str) -> str:
    """Return a solution with its last box rewritten by `boxed`; without a box it is unchanged.

    Raises:
        FormatError: if the answer has two readings.
    """
    start = max((box.start() for box in _BOX.finditer(solution)), default=-1)
    if start < 0:
        return solution
    try:
        opening = solution.index("{", start)
        end = closing(solution, opening)
    except TwoReadings:
        return solution  # no whole box: it will not verify
    box = boxed(solution[opening + 1 : end - 1])
    whole = f"{solution[:start]}{box}{solution[end:]}"
    return NormalisedGold(whole) if isinstance(box, NormalisedGold) else whole


def check_gold(solution: str) -> None:
    """Reject a solution that is not equal to every right completion.

    Raises:
        FormatError: if it does not verify, or looks like a number but is read as a text.
    """
    if not verifies(solution):
        raise FormatError(f"gold answer does not verify against itself: {solution!r:.200}")
    if not _has_value(solution) and _looks_mathematical(solution):
        raise FormatError(
            f"gold answer looks like a number but is read as a text: {solution!r:.200}"
        )


@lru_cache(100_000)
def verifies(solution: str) -> bool:
    """Return whether a completion that ends in exactly this gold would be right.

    ms-swift's `accuracy` reads a gold in one way and a completion without answer tags in a
    stricter one. An answer in words is compared as a text.
    """
    if len(solution) > LONGEST_GOLD or _depth(solution) > DEEPEST_GOLD:
        return False
    gold = parse(solution, extraction_mode="first_match", parsing_timeout=60)
    completion = parse(
        solution,
        extraction_config=[STRICT],
        extraction_mode="first_match",
        parsing_timeout=60,
    )
    return bool(gold) and bool(completion) and bool(verify(gold, completion, timeout_seconds=60))


@lru_cache(100_000)
def _has_value(solution: str) -> bool:
    """Return whether math-verify reads more than a text in a solution."""
    gold = parse(solution, extraction_mode="first_match", parsing_timeout=60)
    return any(not isinstance(part, str) for part in gold)


def _looks_mathematical(solution: str) -> bool:
    """Return whether a text has a digit, a sign of arithmetic or currency, or a LaTeX command."""
    text = _BOX.sub("", solution)
    words = re.sub(r"\\(?:text\w*|mbox)\b", "", text)
    return bool(_MATHEMATICAL.search(words)) or any(
        unicodedata.category(char) in ("Nd", "No", "Nl", "Sm", "Sc") or char in "°\u2032\u2033%"
        for char in words
    )


def _brace_arguments(answer: str) -> str:
    """Return an answer with the arguments of fractions and roots in braces."""
    answer = _SHORT_ROOT.sub(r"\\sqrt{\1}", answer)
    return _SHORT_FRACTION.sub(
        lambda found: f"\\{found[1]}{_brace(found[2])}{_brace(found[3])}", answer
    )


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest


def _brace(argument: str) -> str:
    return argument if argument.startswith("{") else f"{{{argument}}}"
