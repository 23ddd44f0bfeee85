"""Follows one completion to its reward, while its structure is still being written.

Not here: how questions are asked (`judged_walk`), and what completions share (`scoring`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.draft import Draft
from rlkd_plugin.engines.judged_walk import Judge, JudgedWalk, Verdicts
from rlkd_plugin.gsrm import FIELDS, Question, Step, Structure, StructuredReward


@dataclass(frozen=True, slots=True)
class Outcome:
    """A student's decomposition, and the reward where both sides have a structure.

    `verdicts` are those on which the reward depends, in the order of Algorithm 1.
    """

    student: Decomposition
    reward: StructuredReward | None = None
    verdicts: tuple[tuple[Question, Verdict], ...] = ()


class Follower:
    """One completion on its way to a reward; used once.

    Args:
        teaching: the teacher's decomposition, and whether its structure text is unreadable.
        writing: the student's decomposition.
        stop_writing: is called once where the rest of it is not needed; only where `draft` shows
            it being written.
        draft: what is known of the student's structure until then.
        clips: whether the engine reads only the beginning of the student's path.
        judge: answers the questions.
    """

    def __init__(
        self,
        teaching: "asyncio.Future[tuple[Decomposition, bool]]",
        writing: "asyncio.Future[Decomposition]",
        stop_writing: Callable[[], None],
        draft: Draft,
        clips: bool,
        judge: Judge,
    ) -> None:
        self._teaching = teaching
        self._writing = writing
        self._stop_writing = stop_writing
        self._draft = draft
        self._clips = clips
        self._verdicts = Verdicts(judge, self._wake)
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        draft.on_news.append(self._wake)
        for side in (teaching, writing):
            side.add_done_callback(lambda _: self._wake())

    async def run(self) -> Outcome:
        """Return what became of the completion; verdicts that it does not need it leaves.

        Raises:
            EndpointError: as the engine does, for the teacher, the student or a verdict.
        """
        try:
            student, walk = await self._read()
            while walk is not None and not walk.is_over:
                await self._wait()
                walk.go_on()
        finally:
            self._verdicts.leave()
        if walk is None or not self._teacher_steps():
            return Outcome(student)
        reward, verdicts = walk.reward()
        return Outcome(student, reward, tuple(verdicts))

    async def _read(self) -> tuple[Decomposition, JudgedWalk | None]:
        """Return the student's decomposition, whole or as far as it was needed, and its walk."""
        walk, restarts = None, self._draft.restarts
        while not self._writing.done():
            if self._teaching.done():
                if walk is None or restarts != self._draft.restarts:
                    walk, restarts = self._new_walk(), self._draft.restarts
                fields, is_ended = self._draft.fields, self._draft.is_ended
                walk.read(fields, is_whole=is_ended and len(fields) >= len(FIELDS))
                # a final answer is short, and the trace shows it
                if walk.is_decided and not self._draft.is_ending:
                    self._stop_writing()
                    return self._stopped(walk.fields_needed), walk
            await self._wait()
        student = self._writing.result()
        while not self._teaching.done():
            await self._wait()
        if student.structure is None:
            return student, None
        walk = self._new_walk()  # of the structure that counts; what was asked is not asked again
        walk.read(student.structure.fields, is_whole=True)
        return student, walk

    async def _wait(self) -> None:
        """Wait until a text, a side or a verdict has come."""
        await self._change
        self._change = asyncio.get_running_loop().create_future()
        self._verdicts.take()

    def _wake(self) -> None:
        if not self._change.done():
            self._change.set_result(None)

    def _new_walk(self) -> JudgedWalk:
        return JudgedWalk(self._teacher_steps(), self._verdicts)

    def _teacher_steps(self) -> tuple[Step, ...]:
        structure = self._teaching.result()[0].structure
        return structure.steps if structure else ()

    def _stopped(self, count: int) -> Decomposition:
        """Return the decomposition of the first fields."""
        fields = self._draft.fields[:count]
        whole = len(fields) // len(FIELDS) * len(FIELDS)
        steps = (Step(*fields[i : i + len(FIELDS)]) for i in range(0, whole, len(FIELDS)))
        return Decomposition(
            Structure(tuple(steps)),
            clipped=self._clips,
            stopped_early=True,
            unfinished=tuple(fields[whole:]),
        )
