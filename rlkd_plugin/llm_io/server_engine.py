"""The paper's engine: a GSRM and a judge behind OpenAI-compatible servers."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, get_args

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.prompted_engine import PromptedEngine, Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings

ROLES: tuple[Role, ...] = get_args(Role)


class ServerEngine(PromptedEngine):
    """Decomposes with the GSRM and matches with the judge that the settings name.

    Args:
        settings: name them.
        roles: the models that its user asks; the other one needs no settings.

    Raises:
        RlkdError: if a setting is missing.
    """

    name = "server"

    def __init__(self, settings: Settings, roles: Sequence[Role] = ROLES) -> None:
        super().__init__(settings, settings.gsrm_model)
        instead = "; for a try-out without servers RLKD_ENGINE=rules"
        self.clients = {
            role: role_client(role, settings, self.usage, instead=instead) for role in roles
        }

    @property
    def gsrm(self) -> ChatClient:
        """The GSRM's client."""
        return self.clients["GSRM"]

    @property
    def judge(self) -> ChatClient:
        """The judge's client."""
        return self.clients["judge"]

    async def __aenter__(self) -> "ServerEngine":
        self.usage.reset()
        self._in_flight = asyncio.Semaphore(self.settings.rank_concurrency)
        self._stack = AsyncExitStack()
        for client in self.clients.values():
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to an event loop."""
        return {k: v for k, v in vars(self).items() if k not in ("_in_flight", "_stack")}

    async def probe(self) -> None:
        """Send each server one short request; raises EndpointError if one cannot be used."""
        probes = [client.probe() for client in self.clients.values()]
        await asyncio.gather(*probes)

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        async with self._in_flight:
            return await self.clients[role].complete(
                [{"role": "user", "content": prompt}], **options
            )


def probe_now(engine: Engine) -> None:
    """Probe an engine's servers from synchronous code, also where an event loop runs already.

    Raises:
        EndpointError: if a server cannot be used.
    """

    async def probe() -> None:
        async with engine:
            await engine.probe()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, probe()).result()
