"""Matching by words, numbers and operations."""

import pytest

from rlkd_plugin.engines.word_matcher import match_by_words
from rlkd_plugin.gsrm import Field

PLAN = "Start with how many eggs Janet sells: subtract a value of the problem from another."


@pytest.mark.parametrize(
    ("field", "one", "other", "match"),
    [
        ("answer", "36", "36 books", True),
        ("answer", "$1,200", "1200.0", True),
        ("answer", "36", "35", False),
        ("answer", "36", "thirty-six", False),
        ("answer", "on Monday", "on Monday.", True),
        ("answer", "on Monday", "on Friday", False),
        ("sub_problem", "How many eggs does Janet sell?", "Find how many eggs Janet sells.", True),
        ("sub_problem", "How many eggs does Janet sell?", "How many eggs does she buy?", False),
        ("sub_problem", "What is sold in 5 days?", "What is sold in 7 days?", False),
        ("meta_reasoning", PLAN, PLAN.replace("Start with", "Next, find"), True),
        ("meta_reasoning", PLAN, PLAN.replace("subtract", "multiply"), False),
        ("meta_reasoning", PLAN, "Start with how much fuel is left: subtract some.", False),
        ("meta_reasoning", PLAN, "Find how many eggs Janet sells, from the problem.", True),
        (
            "meta_reasoning",
            "Find the address of the shop.",
            "Find the shop's address, adding.",
            True,
        ),
    ],
)
def test_verdicts(field: Field, one: str, other: str, match: bool) -> None:
    assert match_by_words(field, one, other).matched == match
    assert match_by_words(field, other, one).matched == match
