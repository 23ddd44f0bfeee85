"""Mistakes in a problem's steps, as a student makes them, with all later values recomputed."""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from examples.small_gsrm.goals import goal
from examples.small_gsrm.plans import given_numbers, operators
from examples.small_gsrm.problems import (
    NUMBER,
    Calculation,
    Part,
    Problem,
    numbers,
    plain_number,
    to_digits,
    value_of,
)

KINDS = ("dropped", "misread", "operation", "slip", "swapped")


def other_value(value: str, rng: random.Random) -> str:
    """Return a value that a careless calculation might give."""
    number = Fraction(value)
    step = Fraction(1) if number.denominator == 1 else Fraction(1, 2)
    near = [number + step, number - step, number + 2 * step, number + 10, number * 10]
    if number > 20:
        near += [number - 10, number + 100]
    found = [text for n in near if n > 0 and (text := to_digits(n)) and text != value]
    return rng.choice(found or [to_digits(number - step) or value])


def make_mistake(problem: Problem, rng: random.Random) -> tuple[tuple[Part, ...], str]:
    """Return the steps with a mistake in them, and which kind it is."""
    kinds: dict[str, Callable[..., tuple[Part, ...] | None]] = {
        "slip": _slip,
        "misread": _misread_number,
        "operation": _change_operation,
        "dropped": _drop,
        "swapped": _swap,
    }
    for kind in rng.sample(KINDS, len(KINDS)):
        for _ in range(4):
            parts = kinds[kind](problem, rng)
            if parts and parts != problem.parts:
                return parts, kind
    return problem.parts, ""


def _pick(problem: Problem, rng: random.Random) -> tuple[int, Calculation]:
    """Return a step of a single calculation."""
    places = [i for i, part in enumerate(problem.parts) if len(part.calculations) == 1]
    place = rng.choice(places or [0])
    return place, problem.parts[place].calculations[0]


def _slip(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    place, one = _pick(problem, rng)
    wrong = other_value(one.value, rng)
    if one.value in numbers(one.expression):
        return None
    return _change(problem, place, {one.value: wrong}, replace(one, value=wrong))


def _misread_number(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    place, one = _pick(problem, rng)
    given = given_numbers(problem.question) - {"0", "1", "100"}
    read = [v for v in numbers(one.expression) if v in given]
    if not read:
        return None
    right = rng.choice(read)
    wrong = other_value(right, rng)
    expression = _replace_numbers(one.expression, {right: wrong})
    return _change(problem, place, {right: wrong}, replace(one, expression=expression))


def _change_operation(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    place, one = _pick(problem, rng)
    signs = operators(one.expression)
    if len(signs) != 1 or "%" in one.expression:
        return None
    other = {"+": "*-", "-": "+", "*": "+", "/": "*"}[signs[0]]
    values = numbers(one.expression)
    if len(values) != 2:
        return None
    expression = f"{values[0]}{rng.choice(other)}{values[1]}"
    wanted = goal(problem.parts[place].question)
    return _change(problem, place, {}, replace(one, expression=expression), wanted)


def _drop(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    if len(problem.parts) < 2:
        return None
    place = rng.randrange(len(problem.parts))
    return problem.parts[:place] + problem.parts[place + 1 :]


def _swap(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    if len(problem.parts) < 2:
        return None
    place = rng.randrange(len(problem.parts) - 1)
    one, other = problem.parts[place : place + 2]
    return (*problem.parts[:place], other, one, *problem.parts[place + 2 :])


def _change(
    problem: Problem, place: int, new: dict[str, str], changed: Calculation, wanted: str = ""
) -> tuple[Part, ...] | None:
    """Return the steps with one calculation changed, and all later ones recomputed.

    None where a value would be negative or long, or where the numbers cannot be told apart.

    Args:
        problem: the right steps.
        place: which of them changes, from 0.
        new: which of its numbers are replaced, and by which.
        changed: its new calculation; with another value than the right one it is a slip.
        wanted: the step's goal, named in a new line; by default the old line gets the new numbers.
    """
    old = problem.parts[place].calculations[0]
    value = changed.value if changed.value != old.value else _compute(changed.expression)
    known = given_numbers(problem.question)
    if value in (None, old.value) or old.value in known:
        return None
    if changed.value == old.value and old.value in new:
        return None
    if any({*new, old.value} & set(numbers(part.question)) for part in problem.parts[place:]):
        return None
    text = _replace_numbers(old.text, {**new, old.value: value})
    if wanted:
        text = f"To get {wanted}: {changed.expression} = {value}"
    wrong = Calculation(text, changed.expression, value)
    before = (*problem.parts[:place], replace(problem.parts[place], calculations=(wrong,)))
    after = _recompute(problem.parts[place + 1 :], {old.value: value}, known)
    return None if after is None else (*before, *after)


def _recompute(
    parts: tuple[Part, ...], new: dict[str, str], known: set[str]
) -> tuple[Part, ...] | None:
    """Return steps recomputed with some values replaced, `new`; None as for `_change`."""
    new, followed = dict(new), []
    for place, part in enumerate(parts):
        done = []
        for one in part.calculations:
            if not set(numbers(one.expression)) & set(new):
                done.append(one)
                continue
            expression = _replace_numbers(one.expression, new)
            value = _compute(expression)
            if value is None or one.value in known or one.value in numbers(one.expression):
                return None
            if any(one.value in numbers(later.question) for later in parts[place:]):
                return None
            new[one.value] = value
            done.append(Calculation(_replace_numbers(one.text, new), expression, value))
        followed.append(replace(part, calculations=tuple(done)))
    return tuple(followed)


def _compute(expression: str) -> str | None:
    value = value_of(expression)
    return to_digits(value) if value is not None and value > 0 else None


def _replace_numbers(text: str, new: dict[str, str]) -> str:
    """Return a text with some of its numbers replaced."""
    return NUMBER.sub(lambda found: new.get(plain_number(found[0]), found[0]), text)
