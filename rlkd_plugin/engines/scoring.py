"""Scores a batch with the most concurrency possible, and without asking anything twice.

Each completion has one walk of Algorithm 1. The walk advances while the student's structure is
being written, if the engine streams it (`follower`). Identical paths are decomposed once, and
identical questions judged once. Not here: the reward of a failure (`tally`), and the bound on
concurrent requests (the engine's).
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
    """A path of the teacher, and its structure text if it was computed in advance."""

    reasoning: str
    structure: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored against its teacher, with the texts unchanged.

    Attributes:
        completion: the student's.
        problem: the problem.
        domain: its domain.
        teacher_reasoning: the teacher's path; may be empty if `teacher_structure` is set.
        teacher_structure: the teacher's structure text, if it was computed in advance.
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
    """A path of the teacher for a problem, shared by all completions of the problem."""

    problem: str
    domain: str
    text: BranchText


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the teacher, and the completion's result against it."""

    teacher: Decomposition
    outcome: BranchOutcome


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one sample.

    Attributes:
        teacher: of the branch that won; if none did, of the first branch with a structure.
        student: of the completion.
        reward: None if a side has no structure.
        verdicts: in the order of Algorithm 1.
        unreadable: whether a structure text of the teacher cannot be parsed.
        beyond_teacher: whether the student begins a step after the teacher's last.
        branch: the index of the branch that won.
        branches: all branches if there are several, else empty.
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
    """Return the score of every sample, in order.

    Args:
        samples: any number; completions of one problem share the teacher's decompositions.
        engine: entered in the running event loop.
        cache: stores teacher structures.
        max_chars: characters after which the engine clips a path; None if it clips none.
        scale: used to compare the rewards of a teacher's branches.

    Raises:
        EndpointError: if the engine raises it; all requests in flight are cancelled first.
    """
    batch = _Batch(engine, cache, max_chars, scale)
    try:
        return await asyncio.gather(*map(batch.score, samples))
    finally:
        await cancel_all(batch.work.started)


class _Batch:
    """The tasks of one batch, shared by the completions that need them."""

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
        """Return the draft of a student's structure, its task, and the function that stops it.

        The model writes as long as a completion needs it. A path that is also the teacher's is
        decomposed once, as a whole; so is every path if the engine does not stream.
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
        # a cut structure is not cached, as a later run with more tokens may get all of it
        if self.cache is not None and result.structure is not None and not result.cut:
            self.cache.put(side.problem, side.domain, path, result.structure)
        return result, unreadable

    def path_task(self, problem: str, domain: str, path: str) -> "asyncio.Task[Decomposition]":
        """Return the task that decomposes a whole path."""

        async def decompose() -> Decomposition:
            if not has_reasoning(path):
                return _NONE
            return await self.engine.decompose(problem, domain, path)

        return self.work.join(("path", problem, domain, path), decompose)

    def ask(self, question: Question) -> "asyncio.Task[Verdict]":
        """Start to ask a question."""
        texts = (question.field, question.teacher, question.student)
        return self.work.join(texts, lambda: self.engine.match(*texts))

    def leave(self, question: Question) -> None:
        """Stop waiting for the verdict on a question."""
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
