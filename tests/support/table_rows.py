"""Completions whose structures are known, and what the table of completions has to say of them."""

from collections.abc import Sequence
from typing import Any

from rlkd_plugin.swift_hooks.rewards.structure_cells import COLUMNS

Drawn = tuple[str, str]
"""A teacher's path, which is the problem too, and a completion."""
Table = dict[str, list[Any]]

LONG, SHORT = "a b c", "a b"  # teachers
CELLS = {
    (LONG, "a b c"): [3, 3, False, 3, "1 1 1", "teacher_end"],
    (LONG, "a b~"): [3, 2, False, 2, "1 0.5", "student_end"],
    (LONG, "a x c"): [3, 3, False, 1, "1 0", "meta_reasoning"],
    (LONG, "poison"): [3, 0, False, 0, "", "refused"],
    (SHORT, "a b c"): [2, 3, False, 2, "1 1", "teacher_end"],
    (SHORT, "x"): [2, 1, False, 0, "0", "meta_reasoning"],
    (SHORT, "a"): [2, 1, False, 1, "1", "student_end"],
    (SHORT, "a~ b"): [2, 2, False, 2, "0.5 1", "teacher_end"],
}
"""Cells of each completion by `table_trainer.Words`, in the order of the columns."""


def group(teacher: str, *completions: str) -> list[Drawn]:
    """Return the completions of a problem."""
    return [(teacher, completion) for completion in completions]


FIRST = group(LONG, "a b c", "a b~") + group(SHORT, "x", "a b c")
SECOND = group(SHORT, "a~ b", "a") + group(LONG, "poison", "a x c")
EQUAL = group(SHORT, "a", "a")
"""A group that dynamic sampling drops."""
EMPTY = [None] * len(COLUMNS)


def completions(table: Table) -> list[Drawn]:
    """Return the prompt and completion of each row."""
    return list(zip(table["prompt"], table["completion"], strict=True))


def cells(table: Table) -> list[list[Any]]:
    """Return our cells of each row."""
    return [list(row) for row in zip(*(table[name] for name in COLUMNS), strict=True)]


def check(table: Table, drawn: Sequence[Drawn]) -> None:
    """Check the completions, and that each row's cells are its own and sum up to its reward."""
    assert completions(table) == drawn
    assert cells(table) == [CELLS[one] for one in drawn]
    sums = [sum(map(float, scores.split())) for scores in table["rlkd/step_scores"]]
    assert sums == table["Structured"]
