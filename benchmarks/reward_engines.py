"""Engines and a teacher cache for the measurements of the reward."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.request_log import RequestLog
from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.gsrm import Field, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.llm_io.chat_client import ChatClient, Message
from rlkd_plugin.llm_io.listener import Listener
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings


class MemoryCache:
    """A teacher cache in memory."""

    def __init__(self) -> None:
        self._structures: dict[tuple[str, str, str], Structure] = {}

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        """Return a structure, or None if it is unknown."""
        return self._structures.get((problem, domain, path))

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Keep a structure."""
        self._structures[problem, domain, path] = structure


class CountedText:
    """Counts the characters that a listener receives."""

    def __init__(self, listener: Listener) -> None:
        self.characters = 0
        self._listener = listener

    def restart(self) -> None:
        """Tell that a reply begins; what was written before was written all the same."""
        self._listener.restart()

    def add(self, text: str) -> None:
        """Count a part of the text, and hand it on."""
        self.characters += len(text)
        self._listener.add(text)


class LoggedClient(ChatClient):
    """A chat client that logs its requests, also those that it closes."""

    log: RequestLog

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        urls: Sequence[str] = (),
        may_be_empty: bool = False,
        listener: Listener | None = None,
        **options: Any,
    ) -> Reply:
        """Return the first choice of a completion."""
        begin = time.monotonic()
        counted = CountedText(listener) if listener else None
        try:
            reply = await super().complete(
                messages, urls=urls, may_be_empty=may_be_empty, listener=counted, **options
            )
        except asyncio.CancelledError:
            said = counted.characters if counted else 0
            self.log.add_closed(messages[0]["content"], said, begin)
            raise
        self.log.add(reply, begin)
        return reply


class LoggedEngine(ServerEngine):
    """The server engine with a log for each role."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.logs: dict[str, RequestLog] = {}
        for role, client in self.clients.items():
            logged = LoggedClient(
                client.endpoint,
                request_timeout=client.request_timeout,
                patience=client.patience,
                startup_patience=client.startup_patience,
                usage=self.usage,
            )
            logged.log = self.logs[role] = RequestLog()
            self.clients[role] = logged


class InstructionLast(LoggedEngine):
    """Asks the same with the shared part of the prompts at the end, where no cache finds it."""

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        mark = "⟦problem⟧" if role == "GSRM" else "⟦first "
        at = prompt.rindex(mark) if mark in prompt else 0
        return await super()._ask(role, f"{prompt[at:]}\n\n{prompt[:at]}", **options)


class OfflineEngine(ServerEngine):
    """Makes the prompts, but gives one structure, and yes to every question, without a server."""

    structure: Structure

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure."""
        self.decompose_request(problem, domain, path)
        return Decomposition(parse_structure(render_structure(self.structure)))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return a match."""
        judge_prompt(field, teacher, student)
        return Verdict(True, "logprob", 1.0)
