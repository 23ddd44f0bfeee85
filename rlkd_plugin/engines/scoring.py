"""Scores a batch: every request that can be in flight is, and nothing is asked twice.

One walk of Algorithm 1 a completion, which goes on while the student's structure is written
(`following`), where the engine shows that. Identical paths are decomposed once and identical
questions judged once. Not here: what a failure is worth (`tally`), and how many requests run at
once (the engine bounds them).
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from rlkd_plugin.engines.base import Decomposition, Engine, TeacherCache, Verdict
from rlkd_plugin.engines.draft import Draft, StreamingEngine
from rlkd_plugin.engines.following import Follower
from rlkd_plugin.engines.in_flight import SharedWork, cancel_all
from rlkd_plugin.gsrm import FormatError, Question, StructuredReward, parse_structure
from rlkd_plugin.gsrm.texts import has_reasoning, reasoning_path, teacher_path

_NONE = Decomposition(None, "undecomposable", asked=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to be scored against its teacher; texts as they came.

    `teacher_structure` is the teacher's structure text where it was computed ahead; then
    `teacher_reasoning` may be empty.
    """

    completion: str
    problem: str
    domain: str
    teacher_reasoning: str
    teacher_structure: str | None = None


@dataclass(frozen=True, slots=True)
class _Teacher:
    """The teacher's side of a sample: one for all completions of a problem."""

    problem: str
    domain: str
    reasoning: str
    structure: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one sample.

    Attributes:
        teacher: of the sample's teacher.
        student: of the completion.
        reward: None where a side has no structure.
        verdicts: in the order in which Algorithm 1 asks for them.
        unreadable: whether the sample has a `teacher_structure` that is no structure.
    """

    teacher: Decomposition
    student: Decomposition
    reward: StructuredReward | None = None
    verdicts: list[tuple[Question, Verdict]] = field(default_factory=list)
    unreadable: bool = False


async def score_batch(
    samples: Sequence[Sample],
    engine: Engine,
    cache: TeacherCache | None = None,
    max_chars: int | None = None,
) -> list[Score]:
    """Score every sample, in their order.

    Args:
        samples: any number; completions of one problem share the teacher's decomposition.
        engine: open (entered) in the running event loop.
        cache: where teacher structures are looked up and kept.
        max_chars: characters to which the engine clips a path; a structure of a longer one counts
            as clipped. None where it clips none.

    Raises:
        EndpointError: what the engine raises; everything still in flight is cancelled first.
    """
    batch = _Batch(engine, cache, max_chars)
    try:
        return await asyncio.gather(*map(batch.score, samples))
    finally:
        await cancel_all(batch.work.started)


class _Batch:
    """The tasks of one batch, each shared by all who ask for the same."""

    def __init__(
        self, engine: Engine, cache: TeacherCache | None, max_chars: int | None = None
    ) -> None:
        self.engine = engine
        self.streaming = None
        if isinstance(engine, StreamingEngine) and engine.streams:
            self.streaming = engine
        self.cache = cache
        self.max_chars = max_chars
        self.work = SharedWork()
        self.drafts: dict[Hashable, Draft] = {}

    def score(self, sample: Sample) -> "asyncio.Task[Score]":
        problem, domain = sample.problem, sample.domain
        side = _Teacher(problem, domain, sample.teacher_reasoning, sample.teacher_structure)
        path = reasoning_path(sample.completion)
        return self.work.join(("score", side, path), lambda: self.follow(side, path))

    async def follow(self, side: _Teacher, path: str) -> Score:
        teaching = self.work.join(side, lambda: self.teacher(side))
        draft, writing, stop = self.student(side, path)
        clips = self.max_chars is not None and len(path) > self.max_chars
        result = await Follower(teaching, writing, stop, draft, clips, judge=self).run()
        teacher, unreadable = teaching.result()
        return Score(teacher, result.student, result.reward, list(result.verdicts), unreadable)

    def student(
        self, side: _Teacher, path: str
    ) -> "tuple[Draft, asyncio.Task[Decomposition], Callable[[], None]]":
        """Return a student's decomposition, with a draft that shows it, and what stops it.

        It is written as long as one completion needs it. The teacher's own path is decomposed for
        both, and whole; so is every path where the engine shows no draft.
        """
        problem, domain = side.problem, side.domain
        is_teachers = not side.structure and teacher_path(side.reasoning) == path
        streaming = self.streaming
        if streaming is None or is_teachers or not has_reasoning(path):
            return Draft(), self.decomposing(problem, domain, path), lambda: None
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
        if side.structure and side.structure.strip():
            try:
                return Decomposition(parse_structure(side.structure), asked=False), False
            except FormatError:
                unreadable = True
        path = teacher_path(side.reasoning)
        structure = None
        if self.cache is not None:
            structure = self.cache.get(side.problem, side.domain, path)
        if structure is not None:
            clipped = self.max_chars is not None and len(path) > self.max_chars
            return Decomposition(structure, clipped=clipped, asked=False), unreadable
        result = await asyncio.shield(self.decomposing(side.problem, side.domain, path))
        # a later run, with more tokens, may have the whole of a structure that was cut
        if self.cache is not None and result.structure is not None and not result.cut:
            self.cache.put(side.problem, side.domain, path, result.structure)
        return result, unreadable

    def decomposing(self, problem: str, domain: str, path: str) -> "asyncio.Task[Decomposition]":
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
