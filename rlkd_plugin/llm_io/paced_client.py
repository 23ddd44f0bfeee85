"""A chat client that keeps to rates a minute, for jobs on servers that are paid for or shared."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.chat_client import ChatClient, Endpoint, Message
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.settings import Settings


class Pace:
    """Spaces out what is taken of a budget a minute; 0 is no limit."""

    def __init__(self, per_minute: float) -> None:
        self.seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    @property
    def is_free(self) -> bool:
        """Say whether what was taken so far is paid off."""
        return self._free_at <= time.monotonic()

    async def wait(self) -> None:
        """Wait until what was taken so far is paid off."""
        while (ahead := self._free_at - time.monotonic()) > 0:
            await asyncio.sleep(ahead)

    def take(self, amount: float) -> None:
        """Take from the budget, without waiting."""
        self._free_at = max(self._free_at, time.monotonic()) + amount * self.seconds_each


class PacedClient:
    """The client of one role of a job; entered with `async with`.

    Args:
        role: "generator" or "verifier".
        settings: name its servers and the rates.

    Raises:
        RlkdError: if a setting is missing.
    """

    def __init__(self, role: str, settings: Settings) -> None:
        values = {n: getattr(settings, f"{role}_{n}") for n in ("base_url", "model", "api_key_env")}
        for name in ("base_url", "model"):
            if not values[name]:
                raise RlkdError(f"the {role} needs RLKD_{role.upper()}_{name.upper()}")
        self.usage = Usage()
        self.client = ChatClient(
            Endpoint(role, values["base_url"], values["model"], values["api_key_env"]),
            request_timeout=settings.request_timeout,
            patience=settings.patience,
            startup_patience=settings.startup_patience,
            usage=self.usage,
        )
        self.requests = Pace(settings.requests_per_minute)
        self.tokens = Pace(settings.tokens_per_minute)

    async def __aenter__(self) -> "PacedClient":
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.__aexit__(*error)

    async def complete(self, messages: Sequence[Message], **options: Any) -> Reply:
        """Return a completion when the rates allow to ask for it.

        Raises:
            EndpointError: as the chat client.
        """
        while True:
            await self.requests.wait()
            await self.tokens.wait()
            if self.requests.is_free:
                break  # nobody took the place while the tokens were waited for
        self.requests.take(1)
        reply = await self.client.complete(messages, **options)
        self.tokens.take(reply.prompt_tokens + reply.completion_tokens)
        return reply
