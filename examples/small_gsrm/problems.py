"""GSM8K's Socratic rows as problems: human-written sub-questions, each with its calculations.

A row has lines `sub-question ** step` in `answer`, then the result after `####`. Lines that follow
each other and ask the same belong to one step. A row is skipped where a line has no calculation
that can be read and is right (algebra: "Define a variable"; `3/4=1`), or where a question comes
back after another one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

NOTE = re.compile(r"<<([^<>]*)=([^<>=]*)>>")
_EQUATION = re.compile(
    r"\$?([\d.(][\d,.$%() ]*(?:[-+*/x\u00d7\u00f7][\d,.$%() ]+)+)= *\$?(-?[\d,.]*\d)"
)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?|(?<![\w.])\.\d+")
ROWS = 1000
"""Rows of the file that are read; students may be evaluated on the rows behind them."""
UNSEEN = 100
"""Rows at their end that are never trained on."""
ROUNDED = Fraction(1, 100)
"""Largest difference between a written value and the value of its expression."""


@dataclass(frozen=True, slots=True)
class Calculation:
    """A line of a solution: its text without the calculator's note, and what it computes."""

    text: str
    expression: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """A step: one sub-question and the calculations that answer it."""

    question: str
    calculations: tuple[Calculation, ...]

    @property
    def value(self) -> str:
        """The step's answer."""
        return self.calculations[-1].value


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with its solution in steps; `row` is its place in the file."""

    row: int
    question: str
    parts: tuple[Part, ...]
    final: str


def plain_number(text: str) -> str:
    """Return a number without commas, a leading bare point or zeros at its end."""
    number = text.replace(",", "").strip()
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"0{number}" if number.startswith(".") else number or "0"


def calculation(line: str) -> Calculation | None:
    """Return what a line computes, or None where it has no right equation of numbers."""
    note = NOTE.search(line)
    text = NOTE.sub("", line).strip()
    found = note or _EQUATION.search(text)
    if not found:
        return None
    expression, value = found[1].strip(), found[2].strip()
    if not re.fullmatch(r"-?[\d,.]+", value):
        return None
    computed = value_of(expression)
    right = computed is not None and abs(computed - Fraction(plain_number(value))) <= ROUNDED
    return Calculation(text, expression, plain_number(value)) if right else None


def problem(number: int, row: dict[str, str]) -> Problem | None:
    """Return a row's problem, or None where it has no plain steps."""
    *lines, result = row["answer"].split("\n")
    steps: list[tuple[str, list[Calculation]]] = []
    for line in lines:
        question, mark, text = line.partition(" ** ")
        found = calculation(text)
        if not mark or not found or "?" not in question:
            return None
        if steps and steps[-1][0] == question.strip():
            steps[-1][1].append(found)
        else:
            steps.append((question.strip(), [found]))
    if not steps or len({question for question, _ in steps}) < len(steps):
        return None
    parts = tuple(Part(question, tuple(found)) for question, found in steps)
    final = plain_number(result.removeprefix("####"))
    return Problem(number, row["question"], parts, final) if parts[-1].value == final else None


def read_problems(file: Path) -> tuple[list[Problem], list[Problem]]:
    """Return the problems to train on and the unseen ones, the last `UNSEEN` of `ROWS` rows."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()[:ROWS]]
    found = list(filter(None, (problem(number, row) for number, row in enumerate(rows))))
    border = len(rows) - UNSEEN
    return [p for p in found if p.row < border], [p for p in found if p.row >= border]


def numbers(text: str) -> list[str]:
    """Return the numbers of a text, each in its plain form."""
    return [plain_number(n) for n in NUMBER.findall(text)]


def value_of(expression: str) -> Fraction | None:
    """Return the value of an expression of numbers, + - * / ( ) and %; None if it is none."""
    text = expression.replace(",", "").replace("$", "").replace(" ", "")
    text = re.sub(r"[x\u00d7]", "*", text).replace("\u00f7", "/")
    tokens = re.findall(r"\d+\.?\d*|\.\d+|[-+*/()%]", text)
    if "".join(tokens) != text or not tokens:
        return None
    stream = iter([*tokens, ""])
    try:
        value, rest = _sum(next(stream), stream)
    except (ValueError, ZeroDivisionError):
        return None
    return value if rest == "" else None


def _sum(token: str, stream: Iterator[str]) -> tuple[Fraction, str]:
    value, token = _product(token, stream)
    while token in ("+", "-"):
        other, after = _product(next(stream), stream)
        value, token = (value + other if token == "+" else value - other), after
    return value, token


def _product(token: str, stream: Iterator[str]) -> tuple[Fraction, str]:
    value, token = _factor(token, stream)
    while token in ("*", "/"):
        other, after = _factor(next(stream), stream)
        value, token = (value * other if token == "*" else value / other), after
    return value, token


def _factor(token: str, stream: Iterator[str]) -> tuple[Fraction, str]:
    if token == "-":
        value, token = _factor(next(stream), stream)
        return -value, token
    if token == "(":
        value, closing = _sum(next(stream), stream)
        if closing != ")":
            raise ValueError(closing)
    else:
        value = Fraction(token)
    token = next(stream)
    while token == "%":
        value, token = value / 100, next(stream)
    return value, token


def to_digits(value: Fraction) -> str | None:
    """Return a value as digits, at most four decimals; None where it needs more."""
    if (value * 10_000).denominator != 1:
        return None
    return plain_number(f"{float(value):.4f}")
