"""An engine that prompts models: its requests, and how replies become structures and verdicts.

Not here: how a request reaches a model (`server_engine`, and the engine of the training process).
"""

import hashlib
import json
from typing import Any, Literal

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.gsrm import EndpointError, Field, FormatError, parse_structure
from rlkd_plugin.gsrm.prompts import END, decompose_prompt, judge_prompt, prompt_identity
from rlkd_plugin.gsrm.structure import structure_regex
from rlkd_plugin.llm_io.model_source import ModelSource, local_source
from rlkd_plugin.llm_io.replies import Reply, after_thinking
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.verdicts import read_verdict

Role = Literal["GSRM", "judge"]

MOST_STEPS = 16
"""Most steps of a structure under the regex constraint."""
LOGPROBS_TRIES = 3
"""First verdicts without log-probabilities after which the judge is no longer asked for them."""


class PromptedEngine:
    """Decomposes with a GSRM and matches with a judge; a subclass sends the requests.

    Args:
        settings: the prompts' kind and the models' limits.
        gsrm: the GSRM's name, on which cached structures depend.
    """

    def __init__(self, settings: Settings, gsrm: str) -> None:
        self.settings = settings
        self.gsrm_name = gsrm
        self.usage = Usage()
        self._logprobs = 0  # 1: the judge gives them; -n: its first n verdicts had none

    @property
    def identity(self) -> str:
        """What this engine's structures depend on beside the path: model, prompt, options."""
        s = self.settings
        options = [s.gsrm_regex, s.gsrm_max_chars, s.gsrm_max_tokens, s.gsrm_body]
        parts = [prompt_identity(s.gsrm_prompt), options, self.gsrm_source.key]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.gsrm_name} {digest[:16]}"

    @property
    def gsrm_source(self) -> ModelSource:
        """What the GSRM is beside its name; here the weights that this process has loaded."""
        return local_source(self.gsrm_name, self.settings.gsrm_revision)

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure that the GSRM gives a path, with one retry if it gives none."""
        clipped = len(path) > self.settings.gsrm_max_chars
        prompt, options = self.decompose_request(problem, domain, path)
        for temperature in (0.0, 0.7):  # a retry must be able to give another reply
            try:
                reply = await self._ask("GSRM", prompt, temperature=temperature, **options)
                return Decomposition(parse_structure(after_thinking(reply.text)), clipped=clipped)
            except FormatError:
                continue
            except EndpointError as error:
                if not error.refuses_text:
                    raise
                return Decomposition(None, "refused", clipped)
        return Decomposition(None, "undecomposable", clipped)

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return the judge's verdict, with one retry by a constrained choice if unreadable."""
        prompt = judge_prompt(field, teacher, student)
        choice = {
            "max_tokens": max(8, self.settings.judge_max_tokens),
            "structured_outputs": {"choice": ["yes", "no"]},
        }
        try:
            if self._logprobs > -LOGPROBS_TRIES:
                free = self.verdict_options()
                reply = await self._ask("judge", prompt, temperature=0.0, **free)
                if reply.tokens or self._logprobs <= 0:
                    self._logprobs = 1 if reply.tokens else self._logprobs - 1
                verdict = read_verdict(reply, self.settings.judge_threshold)
                if verdict:
                    return verdict
            reply = await self._ask("judge", prompt, temperature=0.0, **choice)
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

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        """Return a model's reply to one user message; raises EndpointError as a client does."""
        raise NotImplementedError
