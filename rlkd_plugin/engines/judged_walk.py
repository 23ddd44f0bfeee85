"""The walk of Algorithm 1 through one completion, with the verdicts that it asks for.

Not here: where the student's fields come from (`following`), and who judges (`scoring`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.gsrm import FIELDS, Question, Step, StructuredReward, Walk
from rlkd_plugin.gsrm.texts import obvious_verdict


class Judge(Protocol):
    """Answers questions, those of other completions too."""

    def ask(self, question: Question) -> "asyncio.Task[Verdict]":
        """Begin to ask a question."""
        ...

    def leave(self, question: Question) -> None:
        """Need the verdict on a question no more."""
        ...


class Verdicts:
    """The verdicts of one completion; a question that was asked once is not asked again.

    Args:
        judge: is asked what no text rule decides.
        on_verdict: is called when a verdict has come.
    """

    def __init__(self, judge: Judge, on_verdict: Callable[[], None]) -> None:
        self.known: dict[Question, Verdict] = {}
        self._judge = judge
        self._on_verdict = on_verdict
        self._open: dict[Question, asyncio.Task[Verdict]] = {}

    def ask(self, question: Question) -> None:
        """Ask a question, unless it was asked before."""
        if question in self.known or question in self._open:
            return
        obvious = obvious_verdict(question.field, question.teacher, question.student)
        if obvious is not None:
            self.known[question] = Verdict(obvious, "rule")
            return
        task = self._open[question] = self._judge.ask(question)
        task.add_done_callback(lambda _: self._on_verdict())

    def take(self) -> None:
        """Take the verdicts that have come.

        Raises:
            EndpointError: as the engine does.
        """
        for question in [one for one, task in self._open.items() if task.done()]:
            self.known[question] = self._open.pop(question).result()

    def leave(self) -> None:
        """Need no further verdict."""
        for question in self._open:
            self._judge.leave(question)
        self._open.clear()


class JudgedWalk:
    """Algorithm 1, going on as texts and verdicts come.

    Args:
        teacher: the steps of S^t; none where the teacher has no structure.
        verdicts: of the completion; an earlier reply's may be among them.
    """

    def __init__(self, teacher: Sequence[Step], verdicts: Verdicts) -> None:
        self._walk = Walk(teacher)
        self._verdicts = verdicts
        self._asked: list[Question] = []
        self._open: list[Question] = []

    def read(self, fields: Sequence[str], *, is_whole: bool) -> None:
        """Take the student's fields as `Walk.read`, and ask what can be asked now."""
        self._walk.read(fields, is_whole)
        self.go_on()

    def go_on(self) -> None:
        """Go on as far as the verdicts allow."""
        while True:
            for question in self._walk.questions():
                self._asked.append(question)
                self._open.append(question)
                self._verdicts.ask(question)
            answered = [one for one in self._open if one in self._verdicts.known]
            if not answered:
                return
            for question in answered:
                self._open.remove(question)
                self._walk.answer(question, self._verdicts.known[question].matched)

    @property
    def is_decided(self) -> bool:
        """Whether no text that follows can change the reward."""
        return self._walk.is_decided

    @property
    def is_over(self) -> bool:
        """Whether the reward is known."""
        return self._walk.is_over

    @property
    def fields_needed(self) -> int:
        """The number of the student's fields that say how the reward came about."""
        return self._walk.fields_needed

    def reward(self) -> tuple[StructuredReward, list[tuple[Question, Verdict]]]:
        """Return the reward, and the verdicts that it depends on in the order of Algorithm 1."""
        needed = filter(self._walk.is_needed, self._asked)
        in_order = sorted(needed, key=lambda one: (one.number, FIELDS.index(one.field)))
        return self._walk.reward(), [(one, self._verdicts.known[one]) for one in in_order]
