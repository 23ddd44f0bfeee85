"""Scores a batch: every request that can be in flight is, and nothing is asked twice.

One walk of Algorithm 1 a completion, which goes on while the student's structure is written
(`follower`), where the engine shows that. Identical paths are decomposed once and identical
questions judged once. Not here: what a failure is worth (`tally`), and how many requests run at
once (the engine bounds them).
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from rlkd_plugin.engines.base import Decomposition, Engine, TeacherCache, Verdict
from rlkd_plugin.engines.branches import BranchOutcome
from rlkd_plugin.engines.draft import Draft, StreamingEngine
from rlkd_plugin.engines.follower import Follower, Outcome
from rlkd_plugin.engines.in_flight import SharedWork, cancel_all
from rlkd_plugin.engines.reward_scale import PAPER, RewardScale
from rlkd_plugin.gsrm import FormatError, Question, StructuredReward, parse_structure
from rlkd_plugin.gsrm.texts import has_reasoning, reasoning_path, teacher_path

_NONE = Decomposition(None, "undecomposable", asked=False)


@dataclass(frozen=True, slots=True)
class BranchText:
    """A path of the teacher, and its structure text where it was computed ahead."""

    reasoning: str
    structure: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored against its teacher; texts as they came.

    Attributes:
        completion: the student's.
        problem: the problem.
        domain: its domain.
        teacher_reasoning: the teacher's path; may be empty where `teacher_structure` is there.
        teacher_structure: the teacher's structure text where it was computed ahead.
        more_branches: further paths of the teacher; the best reward counts.
    """

    completion: str
    problem: str
    domain: str
    teacher_reasoning: str
    teacher_structure: str | None = None
    more_branches: tuple[BranchText, ...] = ()

    @property
    def branches(self) -> tuple[BranchText, ...]:
        """All paths of the teacher."""
        return (BranchText(self.teacher_reasoning, self.teacher_structure), *self.more_branches)


@dataclass(frozen=True, slots=True)
class _Teacher:
    """A path of the teacher for a problem: one for all completions of the problem."""

    problem: str
    domain: str
    text: BranchText


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the teacher, and how the completion did against it."""

    teacher: Decomposition
    outcome: BranchOutcome


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one sample.

    Attributes:
        teacher: of the branch that won; of the first one with a structure where none did.
        student: of the completion.
        reward: None where a side has no structure.
        verdicts: in the order in which Algorithm 1 asks for them.
        unreadable: whether the sample has a structure text of the teacher that is no structure.
        beyond_teacher: whether the student begins a step behind the teacher's last.
        branch: the number, from 0, of the branch that won.
        branches: all branches where there are several, else none.
    """

    teacher: Decomposition
    student: Decomposition
    reward: StructuredReward | None = None
    verdicts: list[tuple[Question, Verdict]] = field(default_factory=list)
    unreadable: bool = False
    beyond_teacher: bool = False
    branch: int = 0
    branches: tuple[Branch, ...] = ()


async def score_batch(
    samples: Sequence[Sample],
    engine: Engine,
    cache: TeacherCache | None = None,
    max_chars: int | None = None,
    scale: RewardScale = PAPER,
) -> list[Score]:
    """Score every sample, in their order.

    Args:
        samples: any number; completions of one problem share the teacher's decompositions.
        engine: open (entered) in the running event loop.
        cache: where teacher structures are looked up and kept.
        max_chars: characters to which the engine clips a path; a structure of a longer one counts
            as clipped. None where it clips none.
        scale: on which the rewards of a teacher's branches are compared.

    Raises:
        EndpointError: what the engine raises; everything still in flight is cancelled first.
    """
    batch = _Batch(engine, cache, max_chars, scale)
    try:
        return await asyncio.gather(*map(batch.score, samples))
    finally:
        await cancel_all(batch.work.started)


class _Batch:
    """The tasks of one batch, each shared by all who ask for the same."""

    def __init__(
        self,
        engine: Engine,
        cache: TeacherCache | None,
        max_chars: int | None,
        scale: RewardScale,
    ) -> None:
        self.engine = engine
        self.scale = scale
        self.streaming = None
        if isinstance(engine, StreamingEngine) and engine.streams:
            self.streaming = engine
        self.cache = cache
        self.max_chars = max_chars
        self.work = SharedWork()
        self.drafts: dict[Hashable, Draft] = {}

    def score(self, sample: Sample) -> "asyncio.Task[Score]":
        problem, domain = sample.problem, sample.domain
        sides = tuple(_Teacher(problem, domain, branch) for branch in sample.branches)
        path = reasoning_path(sample.completion)
        return self.work.join(("score", sides, path), lambda: self.follow(sides, path))

    async def follow(self, sides: tuple[_Teacher, ...], path: str) -> Score:
        teachers = [self.teacher_task(side) for side in sides]
        draft, writing, stop = self.student(sides, path)
        clips = self.max_chars is not None and len(path) > self.max_chars
        follower = Follower(teachers, writing, stop, draft, clips, judge=self, scale=self.scale)
        return _score(await follower.run(), [teacher.result() for teacher in teachers])

    def teacher_task(self, side: _Teacher) -> "asyncio.Task[tuple[Decomposition, bool]]":
        return self.work.join(side, lambda: self.teacher(side))

    def student(
        self, sides: tuple[_Teacher, ...], path: str
    ) -> "tuple[Draft, asyncio.Task[Decomposition], Callable[[], None]]":
        """Return a student's decomposition, with a draft that shows it, and what stops it.

        It is written as long as one completion needs it. The teacher's own path is decomposed for
        both, and whole; so is every path where the engine shows no draft.
        """
        problem, domain = sides[0].problem, sides[0].domain
        texts = [side.text for side in sides if not side.text.structure]
        is_teachers = any(teacher_path(text.reasoning) == path for text in texts)
        streaming = self.streaming
        if streaming is None or is_teachers or not has_reasoning(path):
            return Draft(), self.path_task(problem, domain, path), lambda: None
        key = ("student", problem, domain, path)
        draft = self.drafts.setdefault(key, Draft())
        writing = self.work.join(
            key, lambda: streaming.decompose_into(draft, problem, domain, path)
        )

        def stop() -> None:
            if self.work.leave(key):
                del self.drafts[key]

        return draft, writing, stop

    async def teacher(self, side: _Teacher) -> tuple[Decomposition, bool]:
        """Return the teacher's decomposition, and whether its structure text is unreadable."""
        unreadable = False
        if side.text.structure and side.text.structure.strip():
            try:
                return Decomposition(parse_structure(side.text.structure), asked=False), False
            except FormatError:
                unreadable = True
        path = teacher_path(side.text.reasoning)
        structure = None
        if self.cache is not None:
            structure = self.cache.get(side.problem, side.domain, path)
        if structure is not None:
            clipped = self.max_chars is not None and len(path) > self.max_chars
            return Decomposition(structure, clipped=clipped, asked=False), unreadable
        result = await asyncio.shield(self.path_task(side.problem, side.domain, path))
        # a later run, with more tokens, may have the whole of a structure that was cut
        if self.cache is not None and result.structure is not None and not result.cut:
            self.cache.put(side.problem, side.domain, path, result.structure)
        return result, unreadable

    def path_task(self, problem: str, domain: str, path: str) -> "asyncio.Task[Decomposition]":
        """Return the whole decomposition of a path."""

        async def decompose() -> Decomposition:
            if not has_reasoning(path):
                return _NONE
            return await self.engine.decompose(problem, domain, path)

        return self.work.join(("path", problem, domain, path), decompose)

    def ask(self, question: Question) -> "asyncio.Task[Verdict]":
        """Begin to ask a question."""
        texts = (question.field, question.teacher, question.student)
        return self.work.join(texts, lambda: self.engine.match(*texts))

    def leave(self, question: Question) -> None:
        """Need the verdict on a question no more."""
        self.work.leave((question.field, question.teacher, question.student))


def _score(result: Outcome, results: Sequence[tuple[Decomposition, bool]]) -> Score:
    """Return a completion's score from its outcome and its teacher's branches."""
    teachers = [teacher for teacher, _ in results]
    unreadable = any(is_unreadable for _, is_unreadable in results)
    if result.winner is None:
        first = next((one for one in teachers if one.structure), teachers[0])
        return Score(first, result.student, unreadable=unreadable)
    best = result.branches[result.winner]
    branches = ()
    if len(teachers) > 1:
        branches = tuple(map(Branch, teachers, result.branches))
    return Score(
        teachers[result.winner],
        result.student,
        best.reward,
        list(best.verdicts),
        unreadable,
        best.beyond_teacher,
        result.winner,
        branches,
    )
