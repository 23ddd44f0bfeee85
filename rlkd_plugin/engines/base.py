"""The interface between the reward and the engine that decomposes paths and matches texts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any, Literal, Protocol

from rlkd_plugin.gsrm import Field, Structure

Source = Literal["rule", "logprob", "choice", "text", "refused"]


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The result of decomposing one reasoning path.

    Attributes:
        structure: None if and only if `status` is not "ok".
        status: without a structure "undecomposable" (the retry gave none either) or "refused" (the
            text was rejected).
        clipped: whether the end of the path was dropped, as the path was too long for the GSRM.
        cut: whether the structure reached its token limit, also with the larger budget of the
            retry; its whole steps are kept.
        reply: without a structure, the beginning of the GSRM's reply or of the rejection; empty
            if no model was asked.
        asked: whether a model was asked; false for an empty path, a structure that is known
            already, and an engine of rules.
        stopped_early: whether the model was stopped as the reward was decided. The structure holds
            the first step and those that the reward depends on; the model might have written more
            steps and a final answer.
        unfinished: the meta-reasoning after these steps that ended the walk, if one did; empty if
            it belongs to the first step, which is among them.
    """

    structure: Structure | None
    status: Literal["ok", "undecomposable", "refused"] = "ok"
    clipped: bool = False
    cut: bool = False
    reply: str = ""
    asked: bool = field(default=True, compare=False)
    stopped_early: bool = False
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one Match; `probability` of yes against no, if it is known.

    `source` names its origin: a text rule, log-probabilities, a constrained choice or free text;
    "refused" means a rejected text or an unreadable reply, and counts as not matched. `reason` is
    then the beginning of the server's message, or of the judge's reply.
    """

    matched: bool
    source: Source
    probability: float | None = None
    reason: str = field(default="", compare=False)


@dataclass(slots=True)
class Usage:
    """The usage of an engine since it was opened; tokens as the server counts them."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(
        self,
        *,
        requests: int = 0,
        retries: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> None:
        """Add usage here and to the batch that caused it (`usage_of_batch`)."""
        batch = _of_batch.get()
        for usage in (self,) if batch is None or batch is self else (self, batch):
            usage.requests += requests
            usage.retries += retries
            usage.prompt_tokens += prompt_tokens
            usage.completion_tokens += completion_tokens

    def reset(self) -> None:
        """Set every count to 0, for an engine that is reopened."""
        for count in fields(self):
            setattr(self, count.name, 0)


_of_batch: ContextVar[Usage | None] = ContextVar("usage of the batch", default=None)


@contextmanager
def usage_of_batch() -> Iterator[Usage]:
    """Count the usage of the body and of the tasks that it starts, and of nothing else."""
    usage = Usage()
    token = _of_batch.set(usage)
    try:
        yield usage
    finally:
        _of_batch.reset(token)


class Engine(Protocol):
    """Decomposes reasoning paths and matches texts.

    An engine is entered with `async with` for each batch, so that nothing outlives its event loop.
    Several batches may have it open at once, in one loop or in several. Its methods are called
    concurrently; it bounds its own concurrency. They raise `EndpointError` only for errors that
    end a run, and return a status for errors of one text. `usage` is one object for the engine's
    life, reset when the engine is entered and no other batch has it open.
    """

    name: str
    usage: Usage

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that its structures depend on, except problem, domain and path.

        JSON values by name; None for a fact that is not known on this machine.
        """
        ...

    async def __aenter__(self) -> "Engine": ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    async def probe(self) -> None:
        """Check that it can be used.

        Raises:
            EndpointError: if not.
        """
        ...

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure S of the reasoning path R to a problem."""
        ...

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return whether two texts match, for a field of a step."""
        ...


class TeacherCache(Protocol):
    """Keeps teacher structures between batches, ranks and runs."""

    def get(self, problem: str, domain: str, path: str) -> Structure | None: ...

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None: ...
