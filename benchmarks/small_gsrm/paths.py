"""Paths that take a problem's steps: plain, as thinking with its detours, and wrong ones.

A path's structure is what the path says: a detour that changes nothing is no step, and a mistake
stays one.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from goals import goal
from plans import given_numbers, operators
from problems import NUMBER, Calculation, Part, Problem, numbers, plain_number, value_of, written

VARIANTS = ("plain", "thinking", "wrong")
_SIGNS = ("*", "\u00d7", "x", "\\times")
_OPENINGS = (
    "Okay, let me work through this.",
    "Alright, let's see what is asked here.",
    "Hmm, let me think about it step by step.",
    "Let me read the problem again.",
    "So I need to be careful with the numbers.",
)
_FILLERS = ("Okay.", "Hmm.", "Right.", "Now,", "So", "Good.", "Let me go on.", "Next.", "Wait.")
_CLOSINGS = (
    "Let me check the whole thing once more. It all seems consistent.",
    "I think that is right.",
    "That makes sense.",
    "Does this fit the question? Yes, I believe so.",
)


@dataclass(frozen=True, slots=True)
class Path:
    """A reasoning path, the steps that it takes, and the answer at which it ends."""

    text: str
    parts: tuple[Part, ...]
    final: str
    mistake: str = ""


def path(problem: Problem, variant: str, rng: random.Random) -> Path:
    """Return a path of one of `VARIANTS`.

    A wrong path is told plainly or as thinking. Where no mistake can be made, as in a problem of
    one calculation that allows none, it is a plain one.
    """
    parts, mistake = problem.parts, ""
    if variant == "wrong":
        parts, mistake = _mistaken(problem, rng)
    final = parts[-1].value
    thinks = variant == "thinking" or (variant == "wrong" and rng.random() < 0.3)
    text = (_thinking if thinks else _told)(problem, parts, rng)
    return Path(f"{text}{_ending(final, rng)}", parts, final, mistake)


def _ending(final: str, rng: random.Random) -> str:
    return rng.choice(
        (
            *("", "", f"\nThe answer is {final}.", f"\n\\boxed{{{final}}}", f"\n#### {final}"),
            *(
                f" So the final answer is {final}.",
                f"\n\nTherefore, the answer is \\boxed{{{final}}}.",
            ),
        )
    )


def _pretty(expression: str, rng: random.Random) -> str:
    """Return an expression as people write it: with or without spaces, with one of the signs."""
    sign = rng.choice(_SIGNS)
    text = re.sub(r"\s*[*x\u00d7]\s*", lambda _: f" {sign} ", expression)
    text = re.sub(r"(?<=[\d)%])\s*([-+/\u00f7])\s*", r" \1 ", text)
    return text if sign.startswith("\\") or rng.random() < 0.7 else text.replace(" ", "")


def _told(problem: Problem, parts: Sequence[Part], rng: random.Random) -> str:
    """Return the steps one after another, in one of the ways in which solutions are written."""
    return rng.choice((_lines, _lines, _paragraph, _numbered, _goals, _headings, _equations))(
        parts, rng
    )


def _lines(parts: Sequence[Part], rng: random.Random) -> str:
    return "\n".join(one.said for part in parts for one in part.calculations)


def _paragraph(parts: Sequence[Part], rng: random.Random) -> str:
    return " ".join(_sentence(one.said) for part in parts for one in part.calculations)


def _numbered(parts: Sequence[Part], rng: random.Random) -> str:
    mark = rng.choice(("{}. ", "Step {}: ", "{}) ", "**Step {}:** "))
    said = (" ".join(_sentence(one.said) for one in part.calculations) for part in parts)
    return "\n".join(mark.format(number) + text for number, text in enumerate(said, start=1))


def _goals(parts: Sequence[Part], rng: random.Random) -> str:
    """Return sentences that name the goal of a step and then compute."""
    said = []
    for number, part in enumerate(parts):
        first = rng.choice(("First, we find", "We need to find", "To start, let us get"))
        later = rng.choice(("Next, we find", "Then we calculate", "Now we need", "Now find"))
        computed = "; ".join(
            f"{_pretty(one.expression, rng)} = {one.value}" for one in part.calculations
        )
        join = rng.choice((": ", ". ", ".\n"))
        said.append(f"{first if number == 0 else later} {goal(part.question)}{join}{computed}.")
    return rng.choice(("\n", " ", "\n\n")).join(said)


def _headings(parts: Sequence[Part], rng: random.Random) -> str:
    """Return the sub-questions, each with its equation in LaTeX."""
    said = []
    for part in parts:
        computed = " ".join(
            f"\\({_pretty(one.expression, rng)} = {one.value}\\)" for one in part.calculations
        )
        said.append(f"**{part.question}**\n{computed}")
    return "\n\n".join(said)


def _equations(parts: Sequence[Part], rng: random.Random) -> str:
    unit = rng.choice(("", "", "."))
    return "\n".join(
        f"{_pretty(one.expression, rng)} = {one.value}{unit}"
        for part in parts
        for one in part.calculations
    )


def _thinking(problem: Problem, parts: Sequence[Part], rng: random.Random) -> str:
    """Return the steps as someone thinks them: with fillers, checks, restarts and detours."""
    said = [rng.choice(_OPENINGS)]
    if rng.random() < 0.6:
        sentence = re.split(r"(?<=[.?!])\s+", problem.question)[0].rstrip(".?!")
        said.append(f"The problem says: {sentence}.")
    for place, part in enumerate(parts):
        if rng.random() < 0.5:
            said.append(rng.choice(_FILLERS))
        if rng.random() < 0.35:
            said.append(_detour(problem, parts, place, rng))
        if rng.random() < 0.4:
            said.append(f"I want to know {goal(part.question)}.")
        for one in part.calculations:
            told = rng.random() < 0.6
            line = one.said if told else f"{_pretty(one.expression, rng)} = {one.value}."
            said.append(_sentence(line))
        if rng.random() < 0.3:
            said.append(_check(part.calculations[-1], rng))
    if rng.random() < 0.6:
        said.append(rng.choice(_CLOSINGS))
    lines = (f"{text}{rng.choice((' ', ' ', chr(10)))}" for text in said if text)
    return "".join(lines).strip()


def _check(one: Calculation, rng: random.Random) -> str:
    expression = _pretty(one.expression, rng)
    return rng.choice(
        (
            f"Let me check: {expression} = {one.value}. Yes.",
            f"Wait, is {expression} really {one.value}? Yes, it is.",
            f"So that is {one.value}.",
        )
    )


def _detour(problem: Problem, parts: Sequence[Part], place: int, rng: random.Random) -> str:
    """Return a thought that is given up: a needless calculation, or a wrong start."""
    values = [v for v in numbers(problem.question) if len(v) <= 5]
    if len(values) >= 2 and rng.random() < 0.6:
        one, other = rng.sample(values, 2)
        total = written(Fraction(one) + Fraction(other))
        return rng.choice(
            (
                f"Maybe I should add {one} + {other} = {total}? No, that is not needed here.",
                f"Could it be {one} + {other} = {total}? That would not make sense, so no.",
            )
        )
    calculation = parts[place].calculations[0]
    slipped = other_value(calculation.value, rng)
    expression = _pretty(calculation.expression, rng)
    return f"{expression} = {slipped}. No, wait, that is wrong, let me do it again."


def _sentence(text: str) -> str:
    return text if text[-1:] in ".!?;:" else f"{text}."


def other_value(value: str, rng: random.Random) -> str:
    """Return a value that a careless calculation might give."""
    number = Fraction(value)
    step = Fraction(1) if number.denominator == 1 else Fraction(1, 2)
    near = [number + step, number - step, number + 2 * step, number + 10, number * 10]
    if number > 20:
        near += [number - 10, number + 100]
    found = [text for n in near if n > 0 and (text := written(n)) and text != value]
    return rng.choice(found or [written(number - step)])


def _mistaken(problem: Problem, rng: random.Random) -> tuple[tuple[Part, ...], str]:
    """Return the steps with a mistake in them, and which kind it is."""
    kinds: dict[str, Callable[..., tuple[Part, ...] | None]] = {
        "slip": _slipped,
        "misread": _misread,
        "operation": _other_operation,
        "dropped": _dropped,
        "swapped": _swapped,
    }
    for kind in rng.sample(sorted(kinds), len(kinds)):
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


def _slipped(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    place, one = _pick(problem, rng)
    wrong = other_value(one.value, rng)
    if one.value in numbers(one.expression):
        return None
    return _carried(problem, place, {one.value: wrong}, replace(one, value=wrong))


def _misread(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    place, one = _pick(problem, rng)
    given = given_numbers(problem.question) - {"0", "1", "100"}
    read = [v for v in numbers(one.expression) if v in given]
    if not read:
        return None
    right = rng.choice(read)
    wrong = other_value(right, rng)
    expression = _put(one.expression, {right: wrong})
    return _carried(problem, place, {right: wrong}, replace(one, expression=expression))


def _other_operation(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
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
    return _carried(problem, place, {}, replace(one, expression=expression), wanted)


def _dropped(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    if len(problem.parts) < 2:
        return None
    place = rng.randrange(len(problem.parts))
    return problem.parts[:place] + problem.parts[place + 1 :]


def _swapped(problem: Problem, rng: random.Random) -> tuple[Part, ...] | None:
    if len(problem.parts) < 2:
        return None
    place = rng.randrange(len(problem.parts) - 1)
    one, other = problem.parts[place : place + 2]
    return (*problem.parts[:place], other, one, *problem.parts[place + 2 :])


def _carried(
    problem: Problem, place: int, new: dict[str, str], changed: Calculation, wanted: str = ""
) -> tuple[Part, ...] | None:
    """Return the steps with one calculation changed, and all that follows from it.

    None where a value would be negative or long, or where the numbers cannot be told apart.
    """
    old = problem.parts[place].calculations[0]
    given = given_numbers(problem.question)
    slipped = changed.value != old.value
    value = changed.value if slipped else _computed(changed.expression)
    if value is None or value == old.value:
        return None
    line_map = {**new, old.value: value}
    if not slipped and old.value in new:
        return None
    said = _put(old.said, line_map)
    if wanted:
        said = f"To get {wanted}: {changed.expression} = {value}"
    parts = list(problem.parts)
    parts[place] = replace(
        parts[place], calculations=(Calculation(said, changed.expression, value),)
    )
    follow = {old.value: value}
    if old.value in given:
        return None
    if any({*new, old.value} & set(numbers(part.question)) for part in parts[place:]):
        return None
    for later in range(place + 1, len(parts)):
        done = []
        for one in parts[later].calculations:
            if not set(numbers(one.expression)) & set(follow):
                done.append(one)
                continue
            expression = _put(one.expression, follow)
            value = _computed(expression)
            if value is None or one.value in given or one.value in numbers(one.expression):
                return None
            follow[one.value] = value
            if any(one.value in numbers(part.question) for part in parts[later:]):
                return None
            done.append(Calculation(_put(one.said, follow), expression, value))
        parts[later] = replace(parts[later], calculations=tuple(done))
    return tuple(parts)


def _computed(expression: str) -> str | None:
    value = value_of(expression)
    return written(value) if value is not None and value > 0 else None


def _put(text: str, new: dict[str, str]) -> str:
    """Return a text with some of its numbers replaced."""
    return NUMBER.sub(lambda found: new.get(plain_number(found[0]), found[0]), text)
