"""Follows one completion to its reward, while its structure is still being written.

Not here: how questions are asked (`judged_walk`), and work that completions share (`scoring`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.branches import BranchOutcome, Race
from rlkd_plugin.engines.draft import Draft
from rlkd_plugin.engines.judged_walk import Judge, Verdicts
from rlkd_plugin.engines.reward_scale import RewardScale
from rlkd_plugin.gsrm import FIELDS, Step, Structure


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of following a completion.

    Attributes:
        student: its decomposition.
        winner: the index of the branch with the best reward; None if a side has no structure.
        branches: the result for each branch; empty if a side has no structure.
    """

    student: Decomposition
    winner: int | None = None
    branches: tuple[BranchOutcome, ...] = ()


class Follower:
    """Follows one completion to its reward; used once.

    Args:
        teachers: the decomposition of each branch of the teacher, and whether its structure text
            is unreadable.
        writing: the student's decomposition.
        stop_writing: called once if the rest of the student's structure is not needed.
        draft: the student's structure while it is being written.
        clips: whether the engine reads only the beginning of the student's path.
        judge: answers the questions.
        scale: used to compare the rewards of branches.
    """

    def __init__(
        self,
        teachers: "Sequence[asyncio.Future[tuple[Decomposition, bool]]]",
        writing: "asyncio.Future[Decomposition]",
        stop_writing: Callable[[], None],
        draft: Draft,
        clips: bool,
        judge: Judge,
        scale: RewardScale,
    ) -> None:
        self._teachers = teachers
        self._scale = scale
        self._writing = writing
        self._stop_writing = stop_writing
        self._draft = draft
        self._clips = clips
        self._verdicts = Verdicts(judge, self._wake)
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        draft.on_news.append(self._wake)
        for side in (*teachers, writing):
            side.add_done_callback(lambda _: self._wake())

    async def run(self) -> Outcome:
        """Return the result of the completion; it releases the verdicts that it does not need.

        Raises:
            EndpointError: if the engine raises it for the teacher, the student or a verdict.
        """
        try:
            student, race = await self._read()
            while race is not None and not race.is_over:
                await self._wait()
                race.advance()
        finally:
            self._verdicts.leave_all()
        if race is None or not race.has_reward:
            return Outcome(student)
        return Outcome(student, race.winner, race.outcomes())

    async def _read(self) -> tuple[Decomposition, Race | None]:
        """Return the student's decomposition, as far as it was needed, and its race."""
        race, restarts = None, self._draft.restarts
        while not self._writing.done():
            if self._teachers_are_done:
                if race is None or restarts != self._draft.restarts:
                    race, restarts = self._new_race(), self._draft.restarts
                fields, is_ended = self._draft.fields, self._draft.is_ended
                race.read(fields, is_whole=is_ended and len(fields) >= len(FIELDS))
                # a final answer is short, and the trace shows it
                if race.is_decided and not self._draft.is_ending:
                    self._stop_writing()
                    return self._first_fields(race.fields_needed), race
            await self._wait()
        student = self._writing.result()
        while not self._teachers_are_done:
            await self._wait()
        if student.structure is None:
            return student, None
        race = self._new_race()  # of the final structure; known verdicts are reused
        race.read(student.structure.fields, is_whole=True)
        return student, race

    @property
    def _teachers_are_done(self) -> bool:
        return all(teacher.done() for teacher in self._teachers)

    async def _wait(self) -> None:
        """Wait until a text, a side or a verdict arrives.

        Raises:
            EndpointError: if the engine raises it, also for one branch while others are pending.
        """
        await self._change
        self._change = asyncio.get_running_loop().create_future()
        for teacher in self._teachers:
            if teacher.done():
                teacher.result()
        self._verdicts.take()

    def _wake(self) -> None:
        if not self._change.done():
            self._change.set_result(None)

    def _new_race(self) -> Race:
        structures = [teacher.result()[0].structure for teacher in self._teachers]
        branches = [structure.steps if structure else () for structure in structures]
        return Race(branches, self._verdicts, self._scale)

    def _first_fields(self, count: int) -> Decomposition:
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
