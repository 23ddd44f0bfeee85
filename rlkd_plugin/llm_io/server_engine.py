"""The paper's engine: a GSRM and a judge behind OpenAI-compatible servers."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar, get_args

from rlkd_plugin.engines.base import Decomposition, Engine
from rlkd_plugin.engines.draft import Draft
from rlkd_plugin.engines.in_flight import gather_all
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.model_cards import Card, ask_cards
from rlkd_plugin.llm_io.model_source import ModelSource, served_source
from rlkd_plugin.llm_io.per_loop import PerLoop
from rlkd_plugin.llm_io.prompted_engine import PromptedEngine, Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.slots import Slots

ROLES: tuple[Role, ...] = get_args(Role)
T = TypeVar("T")

logger = logging.getLogger(__name__)


class ServerEngine(PromptedEngine):
    """Decomposes with the GSRM and matches with the judge of the settings.

    Args:
        settings: the servers of both.
        roles: the models in use; a model that is not used needs no settings.
        reserves: whether slots are reserved for verdicts while structures are streamed. A batch
            starts all its structures at once; without a reserve, the verdicts that could stop them
            wait until the first has ended. In a job that is always full a slot is free every few
            milliseconds, and verdicts get it first.

    Raises:
        RlkdError: if a setting is missing.
    """

    name = "server"

    def __init__(
        self, settings: Settings, roles: Sequence[Role] = ROLES, *, reserves: bool = True
    ) -> None:
        super().__init__(settings, settings.gsrm_model)
        instead = "; to try without servers, set RLKD_ENGINE=rules"
        self.clients = {
            role: role_client(role, settings, self.usage, instead=instead) for role in roles
        }
        self._reserves = reserves and "judge" in roles
        self._source: ModelSource | None = None
        self._in_flight: PerLoop[Slots] = PerLoop()

    @property
    def gsrm(self) -> ChatClient:
        """The GSRM's client."""
        return self.clients["GSRM"]

    @property
    def judge(self) -> ChatClient:
        """The judge's client."""
        return self.clients["judge"]

    async def __aenter__(self) -> "ServerEngine":
        if not self._in_flight:
            self.usage.reset()
        async with AsyncExitStack() as entered:
            for client in self.clients.values():
                await entered.enter_async_context(client)
            entered.pop_all()  # all entered: they stay open until `__aexit__`
        # batches of one loop share the concurrency
        reserves = self.streams and self._reserves
        self._in_flight.enter(lambda: Slots(self.settings.rank_concurrency, reserves))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._in_flight.leave()
        async with AsyncExitStack() as leaving:
            for client in self.clients.values():
                leaving.push_async_exit(client)

    async def probe(self) -> None:
        """Send each server one short request, and identify the GSRM.

        Raises:
            EndpointError: if a server cannot be used.
            RlkdError: if the GSRM's servers serve different models.
        """
        await gather_all(client.probe() for client in self.clients.values())
        if "GSRM" in self.clients and self._source is None:
            cards = await ask_cards(self.gsrm.endpoint)
            source = await asyncio.to_thread(self._read_source, cards)  # it reads the weights
            self._source = _report(source)

    @property
    def gsrm_source(self) -> ModelSource:
        """The origin of the GSRM, as its servers report; requested once, as a run has one GSRM.

        If a server does not respond yet, the request is retried at the next use.

        Raises:
            RlkdError: if they serve different models.
        """
        if self._source is not None:
            return self._source
        if "GSRM" not in self.clients:
            return super().gsrm_source
        cards = run_in_thread(ask_cards(self.gsrm.endpoint))
        source = self._read_source(cards)
        if all(card.is_reply for card in cards.values()):
            self._source = _report(source)
        return source

    def _read_source(self, cards: Mapping[str, Card]) -> ModelSource:
        return served_source(self.settings.gsrm_model, self.settings.gsrm_revision, cards)

    @property
    def streams(self) -> bool:
        """Whether a student's structure is shown while it is being written."""
        return self.settings.stream_structures

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        """Return the GSRM's structure of a path, and show it while it is being written."""

        async def ask(prompt: str, **options: Any) -> Reply:
            draft.restart()  # the earlier reply is invalid, also while the next one waits
            return await self._ask("GSRM", prompt, listener=draft, **options)

        return await self._decompose(problem, domain, path, ask)

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        async with self._in_flight.here.of(role):
            return await self.clients[role].complete(
                [{"role": "user", "content": prompt}], **options
            )


def _report(source: ModelSource) -> ModelSource:
    """Log what identifies the GSRM, and return it."""
    level = logging.WARNING if source.is_name_alone else logging.INFO
    logger.log(level, "rlkd: %s", source.describe())
    return source


def probe_now(engine: Engine) -> None:
    """Probe an engine's servers from synchronous code, even inside a running event loop.

    Raises:
        EndpointError: if a server cannot be used.
        RlkdError: if the GSRM's servers serve different models.
    """

    async def probe() -> None:
        async with engine:
            await engine.probe()

    run_in_thread(probe())


def run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, even inside a running one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
