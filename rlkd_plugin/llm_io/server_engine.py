"""The paper's engine: a GSRM and a judge behind OpenAI-compatible servers."""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

from rlkd_plugin.engines.base import Decomposition, Engine, Usage, Verdict
from rlkd_plugin.gsrm import EndpointError, Field, FormatError, parse_structure
from rlkd_plugin.gsrm.prompts import END, decompose_prompt, judge_prompt, prompt_identity
from rlkd_plugin.gsrm.structure import structure_regex
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.replies import Reply, after_thinking
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.verdicts import read_verdict

ROLES = ("GSRM", "judge")
MOST_STEPS = 16
"""Steps that the regex constraint allows."""


class ServerEngine:
    """Decomposes with the GSRM and matches with the judge that the settings name.

    Args:
        settings: name them.
        roles: which of the two it will be asked for; the other needs no settings.

    Raises:
        RlkdError: if a setting is missing.
    """

    name = "server"

    def __init__(self, settings: Settings, roles: Sequence[str] = ROLES) -> None:
        self.settings = settings
        self.usage = Usage()
        instead = "; for a try-out without servers RLKD_ENGINE=rules"
        self.clients = {
            role: role_client(role, settings, self.usage, instead=instead) for role in roles
        }
        self._logprobs = True  # until the judge's server shows that it gives none

    @property
    def gsrm(self) -> ChatClient:
        """The GSRM's client."""
        return self.clients["GSRM"]

    @property
    def judge(self) -> ChatClient:
        """The judge's client."""
        return self.clients["judge"]

    @property
    def identity(self) -> str:
        """What this engine's structures depend on, beside the path."""
        s = self.settings
        prompt = prompt_identity(s.gsrm_prompt)
        options = f"{s.gsrm_regex} {s.gsrm_max_chars} {s.gsrm_max_tokens}"
        return f"{s.gsrm_model} {hashlib.sha256((prompt + options).encode()).hexdigest()[:16]}"

    async def __aenter__(self) -> "ServerEngine":
        for name in Usage.__slots__:
            setattr(self.usage, name, 0)
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
        """Send each server one short request; raises EndpointError where one cannot be used."""
        await asyncio.gather(*(client.probe() for client in self.clients.values()))

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure that the GSRM gives a path; asked once more where it gives none."""
        clipped = len(path) > self.settings.gsrm_max_chars
        prompt, options = self.decompose_request(problem, domain, path)
        for temperature in (0.0, 0.7):  # the second ask must be able to say something else
            try:
                reply = await self._ask(self.gsrm, prompt, temperature=temperature, **options)
                return Decomposition(parse_structure(after_thinking(reply.text)), clipped=clipped)
            except FormatError:
                continue
            except EndpointError as error:
                if not error.refuses_text:
                    raise
                return Decomposition(None, "refused", clipped)
        return Decomposition(None, "undecomposable", clipped)

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return the judge's verdict; asked once more with a constrained choice if unreadable."""
        prompt = judge_prompt(field, teacher, student)
        choice = {
            "max_tokens": max(8, self.settings.judge_max_tokens),
            "structured_outputs": {"choice": ["yes", "no"]},
        }
        try:
            if self._logprobs:
                free = self.verdict_options()
                reply = await self._ask(self.judge, prompt, temperature=0.0, **free)
                self._logprobs = bool(reply.tokens)
                verdict = read_verdict(reply, self.settings.judge_threshold)
                if verdict:
                    return verdict
            reply = await self._ask(self.judge, prompt, temperature=0.0, **choice)
            verdict = read_verdict(reply, self.settings.judge_threshold, constrained=True)
        except EndpointError as error:
            if not error.refuses_text:
                raise
            verdict = None
        return verdict or Verdict(False, "refused")

    def decompose_request(self, problem: str, domain: str, path: str) -> tuple[str, dict[str, Any]]:
        """Return the prompt for a path's structure, and the request's options."""
        settings = self.settings
        path = path[: settings.gsrm_max_chars]
        options: dict[str, Any] = {
            # a structure says each step three times over, but briefly; 2 characters a token
            "max_tokens": min(settings.gsrm_max_tokens, 512 + len(path) // 2),
            "stop": [END],
        }
        if settings.gsrm_regex:
            options["structured_outputs"] = {"regex": structure_regex(MOST_STEPS)}
        return decompose_prompt(settings.gsrm_prompt, domain, problem, path), options

    def verdict_options(self) -> dict[str, Any]:
        """Return the options of a request for a verdict by log-probabilities."""
        tokens = self.settings.judge_max_tokens
        top = 20 if tokens == 1 else 5
        return {"max_tokens": tokens, "logprobs": True, "top_logprobs": top}

    async def _ask(self, client: ChatClient, prompt: str, **options: Any) -> Reply:
        async with self._in_flight:
            return await client.complete([{"role": "user", "content": prompt}], **options)


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
