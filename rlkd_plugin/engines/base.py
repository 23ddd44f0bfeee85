"""The interface between the reward and whatever decomposes paths and matches texts."""

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
    """What became of one reasoning path.

    Attributes:
        structure: None if and only if `status` is not "ok".
        status: "undecomposable" (the retry gave no structure either) or "refused" (the engine
            rejected this text) where there is no structure.
        clipped: whether the path lost its end because it was too long for the GSRM.
        cut: whether the structure ended at its token limit, also with the larger budget of the
            retry; its whole steps are there.
        reply: the beginning of what the GSRM wrote where that is no structure, or of the reason
            for which the text was rejected; empty where no model was asked.
        asked: whether a model was asked; not for an empty path, a structure that is known
            already, or an engine of rules.
        stopped_early: whether the model was stopped when the reward was decided. The structure
            holds the first step and those that the reward depends on; the model might have written
            more steps, and a final answer.
        unfinished: the meta-reasoning that ended the walk behind these steps, if one did; none
            where it is that of the first step, which is among them.
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
    """The answer to one Match; `probability` of yes against no, where it is known.

    `source` says how it was read: by a text rule, from log-probabilities, from a constrained
    choice, from free text, or not at all ("refused", which counts as not matched). `reason` says
    why it was not read: the beginning of the server's words, or of the judge's reply.
    """

    matched: bool
    source: Source
    probability: float | None = None
    reason: str = field(default="", compare=False)


@dataclass(slots=True)
class Usage:
    """What an engine used since it was opened; tokens as the server counts them."""

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
        """Count what was used, here and for the batch that used it (`usage_of_batch`)."""
        batch = _of_batch.get()
        for usage in (self,) if batch is None or batch is self else (self, batch):
            usage.requests += requests
            usage.retries += retries
            usage.prompt_tokens += prompt_tokens
            usage.completion_tokens += completion_tokens

    def reset(self) -> None:
        """Set every count to 0, for an engine that is opened again."""
        for count in fields(self):
            setattr(self, count.name, 0)


_of_batch: ContextVar[Usage | None] = ContextVar("usage of the batch", default=None)


@contextmanager
def usage_of_batch() -> Iterator[Usage]:
    """Count what the body and the tasks that it starts use, whatever else uses the engine."""
    usage = Usage()
    token = _of_batch.set(usage)
    try:
        yield usage
    finally:
        _of_batch.reset(token)


class Engine(Protocol):
    """Decomposes reasoning paths and matches texts.

    An engine is entered with `async with` for each batch, so that nothing outlives the event
    loop it belongs to. It may be entered again, in the same loop or in another one, also while
    another batch has it open. Its methods are called concurrently; it bounds its own
    concurrency. They raise `EndpointError` only for what ends a run, and return a status for what
    is tied to one text. `usage` is one object for the engine's life, reset when the engine is
    entered and no other batch has it open.
    """

    name: str
    usage: Usage

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its structures depend on beside problem, domain and path, by name, as JSON has it.

        None stands for what is not known on this machine.
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
        """Check that it can be used; raises EndpointError if not."""
        ...

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure S of the reasoning path R to a problem."""
        ...

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Say whether two texts match, for a field of a step."""
        ...


class TeacherCache(Protocol):
    """Keeps teacher structures between batches, ranks and runs."""

    def get(self, problem: str, domain: str, path: str) -> Structure | None: ...

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None: ...
