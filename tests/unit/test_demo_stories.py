"""The problems of `make demo`: their steps are true, and the rules engine reads them."""

import asyncio
import json
import re

import pytest

from examples.demo_student.rows import STEPS, WARM_UP, demo_rows, draw, warm_up_rows
from examples.demo_student.run import PROBLEMS
from rlkd_plugin.engines.rules import RulesEngine

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
OPERATIONS = {
    "+": int.__add__,
    "-": int.__sub__,
    "*": int.__mul__,
    "/": int.__floordiv__,
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in PROBLEMS.read_text("utf-8").splitlines()]


def test_every_equation_is_true_and_the_last_one_is_the_answer(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 64
    for row in rows:
        found = EQUATION.findall(row["teacher_reasoning"])
        assert len(found) == STEPS
        for left, sign, right, result in found:
            assert OPERATIONS[sign](int(left), int(right)) == int(result), row
        assert row["solution"] == f"\\boxed{{{found[-1][3]}}}"
        assert row["teacher_reasoning"].endswith(f" So {row['solution']}.")


def test_the_rules_engine_reads_each_equation_as_a_step(rows: list[dict[str, str]]) -> None:
    for row in rows:
        path = row["teacher_reasoning"]
        read = asyncio.run(RulesEngine().decompose(row["problem"], row["domain"], path))
        assert read.structure is not None
        answers = [step.answer for step in read.structure.steps]
        assert answers == [result for *_, result in EQUATION.findall(path)]


def test_the_student_was_warmed_up_on_other_problems(rows: list[dict[str, str]]) -> None:
    shown = [json.loads(line) for line in warm_up_rows(draw()[1]).splitlines()]
    assert len({row["problem"] for row in shown}) == WARM_UP
    assert {row["problem"] for row in shown}.isdisjoint(row["problem"] for row in rows)
    for row in shown:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert row["messages"][0]["content"] == row["problem"]
        assert row["messages"][1]["content"] == row["teacher_reasoning"]


def test_the_shipped_problems_are_those_of_the_generator() -> None:
    """`make demo-student STUDENT_ARGS=--ship` was run after the last change of the generator."""
    assert PROBLEMS.read_text("utf-8") == demo_rows(draw()[0])
