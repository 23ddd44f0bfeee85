"""Reasoning paths that take a problem's steps: plain, as thinking with detours, and wrong ones.

A path's structure says what the path says: a detour that changes nothing is no step, and a mistake
stays in it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from examples.small_gsrm.goals import goal
from examples.small_gsrm.mistakes import make_mistake, other_value
from examples.small_gsrm.problems import Calculation, Part, Problem, numbers, to_digits

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
class ReasoningPath:
    """A reasoning path, the steps that it takes, and the answer at which it ends."""

    text: str
    parts: tuple[Part, ...]
    final: str
    mistake: str = ""


def path(problem: Problem, variant: str, rng: random.Random) -> ReasoningPath:
    """Return a path of one of `VARIANTS`.

    A wrong path is plain or thinking in form. Where no mistake can be made, as in a problem of one
    calculation that allows none, it is a right one.
    """
    parts, mistake = problem.parts, ""
    if variant == "wrong":
        parts, mistake = make_mistake(problem, rng)
    final = parts[-1].value
    thinks = variant == "thinking" or (variant == "wrong" and rng.random() < 0.3)
    text = (_think if thinks else _tell)(problem, parts, rng)
    return ReasoningPath(f"{text}{_ending(final, rng)}", parts, final, mistake)


def _ending(final: str, rng: random.Random) -> str:
    endings = (
        "",
        "",
        f"\nThe answer is {final}.",
        f"\n\\boxed{{{final}}}",
        f"\n#### {final}",
        f" So the final answer is {final}.",
        f"\n\nTherefore, the answer is \\boxed{{{final}}}.",
    )
    return rng.choice(endings)


def _pretty(expression: str, rng: random.Random) -> str:
    """Return an expression as people write it: with or without spaces, with one of the signs."""
    sign = rng.choice(_SIGNS)
    text = re.sub(r"\s*[*x\u00d7]\s*", lambda _: f" {sign} ", expression)
    text = re.sub(r"(?<=[\d)%])\s*([-+/\u00f7])\s*", r" \1 ", text)
    return text if sign.startswith("\\") or rng.random() < 0.7 else text.replace(" ", "")


def _tell(problem: Problem, parts: Sequence[Part], rng: random.Random) -> str:
    """Return the steps one after another, in one of the ways in which solutions are to_digits."""
    style = rng.choice((_lines, _lines, _paragraph, _numbered_lines, _goals, _headings, _equations))
    return style(parts, rng)


def _lines(parts: Sequence[Part], rng: random.Random) -> str:
    return "\n".join(one.text for part in parts for one in part.calculations)


def _paragraph(parts: Sequence[Part], rng: random.Random) -> str:
    return " ".join(_sentence(one.text) for part in parts for one in part.calculations)


def _numbered_lines(parts: Sequence[Part], rng: random.Random) -> str:
    mark = rng.choice(("{}. ", "Step {}: ", "{}) ", "**Step {}:** "))
    lines = (" ".join(_sentence(one.text) for one in part.calculations) for part in parts)
    return "\n".join(mark.format(number) + text for number, text in enumerate(lines, start=1))


def _goals(parts: Sequence[Part], rng: random.Random) -> str:
    """Return sentences that name the goal of a step and then compute."""
    texts = []
    for number, part in enumerate(parts):
        first = rng.choice(("First, we find", "We need to find", "To start, let us get"))
        later = rng.choice(("Next, we find", "Then we calculate", "Now we need", "Now find"))
        computed = "; ".join(
            f"{_pretty(one.expression, rng)} = {one.value}" for one in part.calculations
        )
        join = rng.choice((": ", ". ", ".\n"))
        texts.append(f"{first if number == 0 else later} {goal(part.question)}{join}{computed}.")
    return rng.choice(("\n", " ", "\n\n")).join(texts)


def _headings(parts: Sequence[Part], rng: random.Random) -> str:
    """Return the sub-questions, each with its equation in LaTeX."""
    texts = []
    for part in parts:
        computed = " ".join(
            f"\\({_pretty(one.expression, rng)} = {one.value}\\)" for one in part.calculations
        )
        texts.append(f"**{part.question}**\n{computed}")
    return "\n\n".join(texts)


def _equations(parts: Sequence[Part], rng: random.Random) -> str:
    unit = rng.choice(("", "", "."))
    return "\n".join(
        f"{_pretty(one.expression, rng)} = {one.value}{unit}"
        for part in parts
        for one in part.calculations
    )


def _think(problem: Problem, parts: Sequence[Part], rng: random.Random) -> str:
    """Return the steps as someone thinks them: with fillers, checks, restarts and detours."""
    texts = [rng.choice(_OPENINGS)]
    if rng.random() < 0.6:
        sentence = re.split(r"(?<=[.?!])\s+", problem.question)[0].rstrip(".?!")
        texts.append(f"The problem says: {sentence}.")
    for place, part in enumerate(parts):
        if rng.random() < 0.5:
            texts.append(rng.choice(_FILLERS))
        if rng.random() < 0.35:
            texts.append(_detour(problem, parts, place, rng))
        if rng.random() < 0.4:
            texts.append(f"I want to know {goal(part.question)}.")
        for one in part.calculations:
            is_full = rng.random() < 0.6
            line = one.text if is_full else f"{_pretty(one.expression, rng)} = {one.value}."
            texts.append(_sentence(line))
        if rng.random() < 0.3:
            texts.append(_check(part.calculations[-1], rng))
    if rng.random() < 0.6:
        texts.append(rng.choice(_CLOSINGS))
    lines = (f"{text}{rng.choice((' ', ' ', chr(10)))}" for text in texts if text)
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
        total = to_digits(Fraction(one) + Fraction(other))
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
