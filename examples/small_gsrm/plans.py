"""The meta-reasoning of a step: what to find, for what purpose, and by which operation on what.

It is made from the problem, the sub-questions and the calculations. It never has its own step's
answer in digits, and no numbers but those of a sub-question.
"""

import re
from collections.abc import Sequence

from examples.small_gsrm.goals import goal
from examples.small_gsrm.problems import Calculation, Part, Problem, numbers, plain_number
from rlkd_plugin.gsrm import Step, Structure

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty")
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_WORDS)}
_NUMBER_WORDS |= {word: str(10 * tens) for tens, word in enumerate(_TENS, start=3)}
_NUMBER_WORDS |= {
    "ninety": "90",
    "hundred": "100",
    "dozen": "12",
    "twice": "2",
    "double": "2",
    "half": "2",
    "thrice": "3",
    "triple": "3",
    "third": "3",
    "quarter": "4",
    "fourth": "4",
    "once": "1",
    "couple": "2",
    "both": "2",
    "twenty-five": "25",
    "fifteenth": "15",
    "pair": "2",
}
_OPERATOR = re.compile(r"(?<=[\d)%.])\s*([-+*/x\u00d7\u00f7])")
_DOING = {"+": "adding", "-": "subtracting", "*": "multiplying", "/": "dividing"}
WORDINGS = 3
"""Ways to say the same plan; the structures have the first, pairs for a judge all of them."""


def given_numbers(question: str) -> set[str]:
    """Return the values that a problem names, in digits or in words."""
    words = re.findall(r"[a-z]+(?:-[a-z]+)?", question.lower())
    named = {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS}
    named |= {part for word in words for part in _halves(word)}
    return set(numbers(question)) | named


def _halves(word: str) -> list[str]:
    parts = word.split("-") if "-" in word else [word.removesuffix("s")]
    return [_NUMBER_WORDS[part] for part in parts if part in _NUMBER_WORDS]


def plan(problem: Problem, parts: Sequence[Part], place: int, wording: int = 0) -> str:
    """Return the meta-reasoning of a path's step.

    Args:
        problem: what the path solves.
        parts: the path's steps as it takes them, with its own numbers, right or wrong.
        place: which of them, from 0.
        wording: one of `WORDINGS`.
    """
    part = parts[place]
    wanted = goal(part.question)
    how = approach(
        part.calculations, [p.value for p in parts[:place]], given_numbers(problem.question)
    )
    reason = _reason(problem, parts, place)
    text = _word(wording, place, len(parts), wanted, how, reason)
    if part.value in _values(text):
        text = _word(wording, place, len(parts), wanted, how, "")
    if part.value in _values(text):
        text = _word(wording, place, len(parts), "what this step is about", how, "")
    return text


def structure(problem: Problem, parts: Sequence[Part], final: str) -> Structure:
    """Return the structure of a path that takes these steps and ends with `final`."""
    steps = (
        Step(plan(problem, parts, place), part.question, part.value)
        for place, part in enumerate(parts)
    )
    return Structure(tuple(steps), final)


def approach(done: Sequence[Calculation], earlier: Sequence[str], given: set[str]) -> str:
    """Return by which operations, and on what, some calculations reach their value."""
    phrases: list[str] = []
    for number, one in enumerate(done):
        before = done[number - 1].value if number else None
        phrase = _operation(one.expression, before, earlier, given)
        phrases.append(phrase)
    return ", then ".join(dict.fromkeys(phrases))


def operators(expression: str) -> list[str]:
    """Return the operators of an expression, in order, as + - * and /."""
    found = _OPERATOR.findall(expression)
    return ["*" if sign in "x\u00d7" else "/" if sign == "\u00f7" else sign for sign in found]


def _operation(expression: str, before: str | None, earlier: Sequence[str], given: set[str]) -> str:
    signs = operators(expression)
    percent = "%" in expression or re.search(r"/ ?100\b", expression)
    kinds = [_kind(value, before, earlier, given) for value in numbers(expression)]
    if percent and set(signs) <= {"*", "/"}:
        kinds = [
            kind for kind, value in zip(kinds, numbers(expression), strict=True) if value != "100"
        ]
        return f"take the percentage, with {_several(kinds)}"
    if len(signs) == 1 and len(kinds) == 2:
        one, other = kinds
        again = "another" if one == other else other
        return {
            "+": f"add {one} to {again}",
            "-": f"subtract {other} from {'another' if one == other else one}",
            "*": f"multiply {one} by {again}",
            "/": f"divide {one} by {again}",
        }[signs[0]]
    doing = [_DOING[sign] for sign in dict.fromkeys(signs)] or ["taking over"]
    return f"combine {_several(kinds)} by {' and '.join(doing)}"


def _kind(value: str, before: str | None, earlier: Sequence[str], given: set[str]) -> str:
    if value == before:
        return "what that gives"
    if earlier and value == earlier[-1]:
        return "the last result"
    if value in earlier:
        return "an earlier result"
    return "a value of the problem" if value in given else "a known value"


def _several(kinds: Sequence[str]) -> str:
    names = []
    for kind in dict.fromkeys(kinds):
        plural = {
            "a value of the problem": "values of the problem",
            "a known value": "known values",
        }
        plural["an earlier result"] = "earlier results"
        names.append(plural.get(kind, kind) if list(kinds).count(kind) > 1 else kind)
    return " and ".join(names) or "a value of the problem"


def _reason(problem: Problem, parts: Sequence[Part], place: int) -> str:
    """Return what a step is for: the problem, or the first later step that uses its value."""
    if parts[place].question == problem.parts[-1].question:
        return "which answers the problem"
    value = parts[place].value
    for later in parts[place + 1 :]:
        if any(value in numbers(one.expression) for one in later.calculations):
            return f"which is needed to know {goal(later.question)}"
    return ""


def _word(wording: int, place: int, count: int, wanted: str, how: str, reason: str) -> str:
    because = f", {reason}" if reason else ""
    if wording == 1:
        why = reason.replace("which is needed", "it is needed").replace("which ", "this ")
        return f"{how[0].upper()}{how[1:]}: this gives {wanted}{f'; {why}' if why else ''}."
    if wording == 2:
        return f"The path wants to know {wanted}{because}. For this it has to {how}."
    first = "Start with" if place == 0 else "Last, find" if place == count - 1 else "Next, find"
    if place == 0 and count == 1:
        first = "Find"
    return f"{first} {wanted}{because}: {how}."


def _values(text: str) -> set[str]:
    words = re.findall(r"[a-z]+", text.lower())
    return {plain_number(n) for n in numbers(text)} | {
        _NUMBER_WORDS[word] for word in words if word in _WORDS or word in _TENS
    }
