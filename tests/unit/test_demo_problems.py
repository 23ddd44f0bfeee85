"""Checks the demo problems: form, true arithmetic, and numbers that come from the problem."""

import ast
import json
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

DATA = (
    Path(__file__).resolve().parents[2]
    / "rlkd_plugin"
    / "rlkd_data"
    / "samples"
    / "rlkd_demo_problems.jsonl"
)
KEYS = ["problem", "teacher_reasoning", "answer", "domain"]
NUMBER = r"\d+(?:\.\d+)?"
# "3 * (2 + 4) = 18": the left side starts and ends with a digit or a parenthesis.
EQUATION = re.compile(rf"([\d(][\d.\s()*/+-]*[\d)])\s*=\s*({NUMBER})")
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
TENS = "thirty forty fifty sixty seventy eighty ninety hundred"
WORDS: dict[str, int] = {
    **{word: value for value, word in enumerate(UNITS.split())},
    **{word: 10 * value for value, word in enumerate(TENS.split(), start=3)},
    "half": 2,
    "twice": 2,
    "double": 2,
    "dozen": 12,
}
CONSTANTS = {Fraction(value) for value in (2, 4, 7, 12, 24, 60, 100)}


def evaluate(node: ast.AST) -> Fraction:
    """The exact value of a parsed expression made of numbers and + - * / only."""
    if isinstance(node, ast.Expression):
        return evaluate(node.body)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    raise ValueError(f"not plain arithmetic: {ast.dump(node)}")


def numbers(text: str) -> set[Fraction]:
    """The numbers written with digits in a text."""
    return {Fraction(found) for found in re.findall(NUMBER, text)}


def steps(row: dict[str, str]) -> list[tuple[str, str]]:
    """The (expression, result) of each line of the worked solution."""
    found = [EQUATION.search(line) for line in row["teacher_reasoning"].split("\n")]
    return [(match[1], match[2]) for match in found if match]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def lines(rows: list[dict[str, str]]) -> Iterator[tuple[int, str]]:
    """Every line of every worked solution, with the index of its row."""
    for index, row in enumerate(rows):
        for line in row["teacher_reasoning"].split("\n"):
            yield index, line


def test_enough_rows_and_step_counts(rows: list[dict[str, str]]) -> None:
    counts = [row["teacher_reasoning"].count("\n") + 1 for row in rows]
    assert len(rows) >= 60
    for index, count in enumerate(counts):
        assert 2 <= count <= 5, f"row {index}: {count} lines"
    assert counts.count(2) >= 20
    assert counts.count(3) >= 24
    assert counts.count(4) + counts.count(5) >= 14


def test_keys_and_texts(rows: list[dict[str, str]]) -> None:
    for index, row in enumerate(rows):
        assert list(row) == KEYS, f"row {index}"
        assert all(isinstance(value, str) for value in row.values()), f"row {index}"
        assert row["problem"].endswith("?"), f"row {index}"
        assert row["domain"] == "math", f"row {index}"


def test_problems_are_unique(rows: list[dict[str, str]]) -> None:
    first_seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        text = " ".join(row["problem"].lower().split())
        assert text not in first_seen, f"row {index} repeats row {first_seen[text]}"
        first_seen[text] = index


def test_each_line_is_one_sentence_with_one_equation(rows: list[dict[str, str]]) -> None:
    for index, line in lines(rows):
        assert line.isascii() and line == line.strip(), f"row {index}: {line}"
        assert line[0].isupper() or line[0].isdigit(), f"row {index}: {line}"
        assert line.endswith("."), f"row {index}: {line}"
        assert line.count("=") == 1, f"row {index}: {line}"
        assert len(EQUATION.findall(line)) == 1, f"row {index}: {line}"
        assert not numbers(EQUATION.sub("", line)), f"row {index}: number outside: {line}"


def test_each_equation_is_true(rows: list[dict[str, str]]) -> None:
    for index, row in enumerate(rows):
        for expression, result in steps(row):
            value = evaluate(ast.parse(expression, mode="eval"))
            assert value == Fraction(result), f"row {index}: {expression} = {result}"
            assert set(expression) & set("+-*/"), f"row {index}: {expression}"


def test_answer_is_the_last_result(rows: list[dict[str, str]]) -> None:
    for index, row in enumerate(rows):
        assert steps(row)[-1][1] == row["answer"], f"row {index}"


def test_every_number_is_given_or_worked_out_before(rows: list[dict[str, str]]) -> None:
    for index, row in enumerate(rows):
        words = re.findall(r"[a-z]+", row["problem"].lower())
        known = CONSTANTS | numbers(row["problem"])
        known |= {Fraction(WORDS[word]) for word in words if word in WORDS}
        for expression, result in steps(row):
            unknown = {str(number) for number in numbers(expression) - known}
            assert not unknown, f"row {index}: {unknown} in {expression}"
            known.add(Fraction(result))


def test_every_step_but_the_last_is_used_later(rows: list[dict[str, str]]) -> None:
    for index, row in enumerate(rows):
        done = steps(row)
        for place, (_, result) in enumerate(done[:-1], start=1):
            later = set().union(*(numbers(expression) for expression, _ in done[place:]))
            assert Fraction(result) in later, f"row {index}: {result} is never used"


def test_the_demo_pairs_are_those_of_the_problems() -> None:
    """`tools/demo_pairs.py` was run after the last change of the problems or the rules."""
    import asyncio

    from tools.demo_pairs import PAIRS, pairs

    assert PAIRS.read_text("utf-8") == asyncio.run(pairs())
