"""The embedded rules engine: a stand-in that needs no model and no server.

It splits a path into sentences and equations, and matches by normalised words and numbers. It is
deterministic and fast, so that training can be tried on any machine. It is not the paper's GSRM,
and results with it do not show how well the GSRM works.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.gsrm import Field, Step, Structure
from rlkd_plugin.gsrm.texts import neutralise

MAX_STEPS = 64
MAX_STEP_CHARS = 1000
WORDS_MATCH = 0.4
"""Smallest Dice coefficient of the content words at which two texts without numbers match."""

_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?|(?<![\w.])-?\.\d+")
_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]{0,200}>>")
_LATEX = re.compile(r"\\(?:times|cdot)|\\(?:div)|\\[a-zA-Z]+|[{}$\\]")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_ITEM = re.compile(r"^(?:step )?\d{1,2}[.):] *|^[-*\u2022] +", re.IGNORECASE)
_UNIT = r"(?:(?: | ?/ ?|-)(?!x\b)[a-z]{1,14}){0,6}"  # 5 snakes/jaguar, 3 green hard hats
_OPERAND = rf"[-(]?\d[\d,]*(?:\.\d+)?%?\)?{_UNIT}"
_EQUATION = re.compile(
    rf"(?<![\d,])(?P<left>{_OPERAND}(?: ?[-+*/x\u00d7\u00f7] {{0,2}}{_OPERAND}){{1,12}}) ?= {{0,3}}"
    r"(?:[-+*/\d., x()]{1,80}= {0,3})?(?P<right>-?\d[\d,]*(?:\.\d+)?)"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_OPERATIONS = {
    "+": "addition",
    "-": "subtraction",
    "*": "multiplication",
    "x": "multiplication",
    "\u00d7": "multiplication",
    "/": "division",
    "\u00f7": "division",
}
_STOP_WORDS = frozenset(
    "the an and or of to in on at for with by from as is are was were be been has have had he she "
    "it they we you his her its their our this that these those there then so now first next "
    "finally therefore thus hence since because which what how many much find need let us "
    "calculate compute determine number total answer step will can do does did not no if when each "
    "per get gets got out up all also".split()
)


class RulesEngine:
    """Decomposes and matches by fixed rules; a stand-in for a GSRM and a judge."""

    name = "rules"

    def __init__(self) -> None:
        self.usage = Usage()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that its structures depend on: these rules."""
        return {"engine": self.name}

    async def __aenter__(self) -> "RulesEngine":
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def probe(self) -> None:
        """Do nothing, as rules need no server."""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the path's steps: one for each equation, else one for each sentence."""
        steps = _steps(neutralise(path))
        if not steps:
            return Decomposition(None, "undecomposable", asked=False)
        return Decomposition(Structure(tuple(steps), steps[-1].answer), asked=False)

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Match answers by number, sub-problems by numbers and words, meta-reasoning by words."""
        left, right = numbers_in(teacher), numbers_in(student)
        if field == "answer" and (left or right):
            return Verdict(left[-1:] == right[-1:], "rule")
        if field == "sub_problem" and (left or right):
            return Verdict(sorted(left) == sorted(right), "rule")
        return Verdict(word_overlap(teacher, student) >= WORDS_MATCH, "rule")


def _steps(path: str) -> list[Step]:
    sentences = [_ITEM.sub("", s.strip()) for s in _SENTENCE_END.split(_plain_arithmetic(path))]
    sentences = [s[:MAX_STEP_CHARS] for s in sentences]
    sentences = [s for s in sentences if _WORD.search(s) or _equation(s)]
    equations = [_equation(s) for s in sentences]
    by_equation = any(equations)
    steps: list[Step] = []
    lead_in = ""
    for sentence, equation in zip(sentences, equations, strict=True):
        if equation:
            steps.append(_equation_step(sentence, equation, lead_in))
        elif not by_equation:
            numbers = _NUMBER.findall(sentence)
            steps.append(Step(_goal(sentence), sentence, numbers[-1] if numbers else sentence))
        lead_in = "" if equation else sentence
        if len(steps) == MAX_STEPS:
            break
    return steps


def _equation(sentence: str) -> tuple[str, str, str] | None:
    """Return the operations and both sides of a sentence's equation, if it has one.

    Only a calculation names operations; another equation with numbers on both sides, as in
    algebra, has none.
    """
    calculation = _EQUATION.search(sentence)
    if calculation:
        left = calculation["left"]
        operations = dict.fromkeys(_OPERATIONS[c] for c in left[1:] if c in _OPERATIONS)
        return f" (by {' and '.join(operations)})", left, calculation["right"]
    left, _, right = sentence.rpartition("=")
    if _NUMBER.search(left) and _NUMBER.search(right):
        return "", left.strip(), right.strip(" .,;!?")
    return None


def _equation_step(sentence: str, equation: tuple[str, str, str], lead_in: str) -> Step:
    """Return the step of an equation; its goal comes from its sentence or the one before."""
    operations, left, right = equation
    goal = sentence if len(_content_words(_goal(sentence))) >= 2 else f"{lead_in} {sentence}"
    return Step(f"{_goal(goal)}{operations}", f"What is {left}?", right)


def _goal(text: str) -> str:
    """Return the goal of a sentence: its words without numbers and equations."""
    return (
        " ".join(_NUMBER.sub(" ", _EQUATION.sub(" ", text)).split()).strip(" .,:;=-+*/()") or text
    )


def _plain_arithmetic(path: str) -> str:
    text = _CALCULATOR_NOTE.sub("", path.replace("\\times", "*").replace("\\cdot", "*"))
    return _LATEX.sub(" ", text.replace("\\div", "/").replace("#", " "))


def numbers_in(text: str) -> list[Fraction]:
    """Return the values of the numbers at a text's beginning (`MAX_STEP_CHARS`)."""
    found = (n.replace(",", "") for n in _NUMBER.findall(text[:MAX_STEP_CHARS]))
    return [Fraction(n) for n in found if len(n) <= 40]


def word_overlap(one: str, other: str) -> float:
    """Return the Dice coefficient of the content words of two texts, 0 to 1."""
    left, right = _content_words(one), _content_words(other)
    if not left or not right:
        return 0.0
    return 2 * len(left & right) / (len(left) + len(right))


def _content_words(text: str) -> frozenset[str]:
    words = (w.lower() for w in _WORD.findall(text[: 2 * MAX_STEP_CHARS]))
    return frozenset(_stem(w) for w in words if w not in _STOP_WORDS)


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
