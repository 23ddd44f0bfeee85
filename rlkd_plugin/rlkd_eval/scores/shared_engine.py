"""An engine that makes equal requests once, for many completions that are scored one by one.

`score_batch` shares work within a batch. Here each completion is a batch of its own, so that its
line is written as soon as it is scored; this engine shares the work between the batches that are in
flight together. Usage is counted by role, for the cost.
"""

from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, TypeVar

from rlkd_plugin.engines.base import Decomposition, Engine, Usage, Verdict, usage_of_batch
from rlkd_plugin.engines.draft import Draft, StreamingEngine
from rlkd_plugin.gsrm import Field
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.server_engine import ROLES
from rlkd_plugin.rlkd_eval.scores.recent_work import RecentWork

STRUCTURES = 256
"""Newest decompositions that are kept: those of about a hundred problems' teachers."""
VERDICTS = 8192
"""Newest verdicts that are kept: those of about a hundred problems' completions."""

T = TypeVar("T")


class SharedEngine:
    """Another engine, whose newest work is shared; entered once for a job.

    Args:
        engine: does the work.

    Attributes:
        used: usage by role; a request in flight is counted when it ends.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.usage = engine.usage
        self.used: Mapping[Role, Usage] = {role: Usage() for role in ROLES}
        self._engine = engine
        self._streaming = engine if isinstance(engine, StreamingEngine) else None
        self._structures: RecentWork[Decomposition] = RecentWork(STRUCTURES)
        self._verdicts: RecentWork[Verdict] = RecentWork(VERDICTS)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that its structures depend on."""
        return self._engine.facts

    async def __aenter__(self) -> "SharedEngine":
        await self._engine.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        try:
            await self._structures.close()
            await self._verdicts.close()
        finally:
            await self._engine.__aexit__(kind, error, trace)

    async def probe(self) -> None:
        """Check that it can be used; raises EndpointError if not."""
        await self._engine.probe()

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure of a path."""
        texts = (problem, domain, path)
        return await self._structures.do(
            texts, lambda: self._count("GSRM", lambda: self._engine.decompose(*texts))
        )

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return whether two texts match."""
        texts = (field, teacher, student)
        return await self._verdicts.do(
            texts, lambda: self._count("judge", lambda: self._engine.match(*texts))
        )

    @property
    def streams(self) -> bool:
        """Whether a student's structure is shown while it is being written."""
        return self._streaming is not None and self._streaming.streams

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        """Return the structure of a path, and show it while it is written; this is not shared."""
        streaming = self._streaming
        assert streaming is not None  # it streams
        return await self._count(
            "GSRM", lambda: streaming.decompose_into(draft, problem, domain, path)
        )

    async def _count(self, role: Role, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do work of a role, and count its usage, even if it is cancelled."""
        with usage_of_batch() as used:
            try:
                return await begin()
            finally:
                total = self.used[role]
                total.requests += used.requests
                total.retries += used.retries
                total.prompt_tokens += used.prompt_tokens
                total.completion_tokens += used.completion_tokens
