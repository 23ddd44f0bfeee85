"""Matches texts that the same GSRM wrote, by words, numbers and operations.

For the small GSRM, which describes similar steps in similar words. It cannot replace a judge, as
paraphrases do not match.
"""

import re

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.rules import numbers_in, word_overlap
from rlkd_plugin.gsrm import Field

PLAN_WORDS = 0.46
"""Smallest Dice coefficient of the content words at which two plans match."""
QUESTION_WORDS = 0.775
"""Smallest Dice coefficient at which two sub-problems match, and two answers in words."""

_OPERATION = re.compile(
    r"\b(add(?=\b|s\b|ed\b|ing\b|ition\b)|subtract|multipl|divid|percent)", re.IGNORECASE
)


def match_by_words(field: Field, teacher: str, student: str) -> Verdict:
    """Return whether two texts of a field match.

    Two answers with numbers match if their last numbers are equal. Plans and sub-problems must
    share words and have the same numbers. Two plans with arithmetic operations must have the same.
    """
    left, right = numbers_in(teacher), numbers_in(student)
    if field == "answer" and (left or right):
        return Verdict(left[-1:] == right[-1:], "rule")
    if sorted(left) != sorted(right):
        return Verdict(False, "rule")
    limit = QUESTION_WORDS
    if field == "meta_reasoning":
        limit, named = PLAN_WORDS, [_operations(text) for text in (teacher, student)]
        if all(named) and named[0] != named[1]:
            return Verdict(False, "rule")
    return Verdict(word_overlap(teacher, student) >= limit, "rule")


def _operations(plan: str) -> set[str]:
    return {word.lower() for word in _OPERATION.findall(plan)}
