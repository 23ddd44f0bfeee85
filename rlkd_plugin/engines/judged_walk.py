"""The walk of Algorithm 1 through one completion, with its questions and verdicts.

Not here: several branches of a teacher (`branches`), the source of the student's fields
(`follower`), and the requests to the judge (`scoring`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.reward_scale import PAPER, RewardScale
from rlkd_plugin.gsrm import FIELDS, Question, Step, StructuredReward, Walk
from rlkd_plugin.gsrm.texts import obvious_verdict


class Judge(Protocol):
    """Answers the questions of all completions."""

    def ask(self, question: Question) -> "asyncio.Task[Verdict]":
        """Start to ask a question."""
        ...

    def leave(self, question: Question) -> None:
        """Stop waiting for the verdict on a question."""
        ...


class Verdicts:
    """The verdicts of one completion; each question is asked once.

    Args:
        judge: answers the questions that no text rule decides.
        on_verdict: called when a verdict arrives.
    """

    def __init__(self, judge: Judge, on_verdict: Callable[[], None]) -> None:
        self.known: dict[Question, Verdict] = {}
        self._judge = judge
        self._on_verdict = on_verdict
        self._open: dict[Question, asyncio.Task[Verdict]] = {}

    def decide(self, question: Question) -> None:
        """Decide a question by a text rule, if one applies."""
        obvious = obvious_verdict(question.field, question.teacher, question.student)
        if obvious is not None:
            self.known[question] = Verdict(obvious, "rule")

    def ask(self, question: Question) -> None:
        """Ask the judge a question, unless it was asked already."""
        if question in self.known or question in self._open:
            return
        task = self._open[question] = self._judge.ask(question)
        task.add_done_callback(lambda _: self._on_verdict())

    def take(self) -> None:
        """Collect the verdicts that have arrived.

        Raises:
            EndpointError: if the engine raises it.
        """
        for question in [one for one, task in self._open.items() if task.done()]:
            self.known[question] = self._open.pop(question).result()

    def leave(self, question: Question) -> None:
        """Stop waiting for the verdict on a question."""
        if self._open.pop(question, None) is not None:
            self._judge.leave(question)

    def leave_all(self) -> None:
        """Stop waiting for all verdicts."""
        for question in list(self._open):
            self.leave(question)


class JudgedWalk:
    """Algorithm 1, advancing as texts and verdicts arrive.

    Args:
        teacher: the steps of S^t; empty if the teacher has no structure.
        verdicts: of the completion, including those for an earlier reply.
        scale: how r becomes a reward.

    Attributes:
        open: the questions without a verdict yet.
        teacher_steps: n.
    """

    def __init__(
        self, teacher: Sequence[Step], verdicts: Verdicts, scale: RewardScale = PAPER
    ) -> None:
        self.open: list[Question] = []
        self.teacher_steps = len(teacher)
        self._walk = Walk(teacher, reads_all=scale.counts_students_steps)
        self._scale = scale
        self._verdicts = verdicts
        self._asked: list[Question] = []

    def read(self, fields: Sequence[str], *, is_whole: bool) -> None:
        """Set the student's fields as `Walk.read`."""
        self._walk.read(fields, is_whole)

    def advance(self) -> None:
        """Advance as far as the known verdicts and the text rules allow."""
        while True:
            questions = self._walk.questions()
            for question in questions:
                self._verdicts.decide(question)
            self._asked += questions
            self.open += questions
            answered = [one for one in self.open if one in self._verdicts.known]
            if not answered:
                return
            for question in answered:
                self.open.remove(question)
                self._walk.answer(question, self._verdicts.known[question].matched)

    def ask(self) -> None:
        """Ask the judge the open questions."""
        for question in self.open:
            self._verdicts.ask(question)

    @property
    def is_decided(self) -> bool:
        """Whether further text cannot change the reward."""
        return self._walk.is_decided

    @property
    def is_over(self) -> bool:
        """Whether the reward is known."""
        return self._walk.is_over

    @property
    def beyond_teacher(self) -> bool:
        """Whether the student begins a step after the teacher's last."""
        return self._walk.beyond_teacher

    @property
    def fields_needed(self) -> int:
        """The number of the student's fields that explain the reward."""
        return self._walk.fields_needed

    def bounds(self, ends: Sequence[int]) -> list[tuple[float, float]]:
        """Return the lowest and the highest possible reward for each number of the student's steps.

        The teacher must have steps.
        """
        n, reward, of_r = self.teacher_steps, self._scale.reward, self._walk.bounds()
        pairs = [(m, *of_r[min(m, n)]) for m in ends]
        return [(reward(low, n, m), reward(high, n, m)) for m, low, high in pairs]

    def reward(self) -> StructuredReward:
        """Return r, once the walk is over."""
        return self._walk.reward()

    def verdicts(self) -> tuple[tuple[Question, Verdict], ...]:
        """Return the verdicts received that count, in the order of Algorithm 1."""
        known = self._verdicts.known
        counting = [one for one in self._asked if one in known and self._walk.is_needed(one)]
        in_order = sorted(counting, key=lambda one: (one.number, FIELDS.index(one.field)))
        return tuple((one, known[one]) for one in in_order)
