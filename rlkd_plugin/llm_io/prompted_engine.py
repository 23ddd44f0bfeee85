"""An engine that prompts models: builds requests, reads structures and verdicts from replies.

Not here: how a request reaches a model (`server_engine`, and the engine of the training process).
"""

import hashlib
import json
import string
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.in_flight import gather_all
from rlkd_plugin.gsrm import EndpointError, Field, FormatError, Structure
from rlkd_plugin.gsrm.prompts import END, decompose_prompt, judge_prompt, prompt_identity
from rlkd_plugin.gsrm.structure import structure_regex
from rlkd_plugin.llm_io.model_source import ModelSource, local_source
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.structure_replies import BEGINNING, beginning_of, read_structure
from rlkd_plugin.llm_io.verdicts import read_verdict

Role = Literal["GSRM", "judge"]

MOST_STEPS = 16
"""Most steps of a structure under the regex constraint."""
RETRY_TEMPERATURE = 0.7
"""Temperature of a retry; at 0 the reply would be the same."""
LOGPROBS_TRIES = 3
"""Verdicts of each server without log-probabilities after which none are requested."""

_LETTERS_AND_SPACE = (string.ascii_letters + string.whitespace).encode()


class PromptedEngine:
    """Decomposes with a GSRM and matches with a judge; a subclass sends the requests.

    Args:
        settings: the kind of prompt and the limits of the models.
        gsrm: the GSRM's name, part of the cache key of structures.
    """

    name: str

    def __init__(self, settings: Settings, gsrm: str) -> None:
        self.settings = settings
        self.gsrm_name = gsrm
        self.usage = Usage()
        self._logprobs = 0  # 1: the judge gives them; -n: its first n verdicts had none

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts in `identity`, by name; None for a fact not known on this machine."""
        s, source = self.settings, self.gsrm_source
        return {
            "engine": self.name,
            "gsrm": self.gsrm_name,
            "revision": source.revision,
            "served_from": source.root or None,
            "weights": source.fingerprint or None,
            "base_served_from": source.parent or None,
            "base_weights": source.parent_fingerprint or None,
            "served_revision": source.served_revision or None,
            "prompt": f"{s.gsrm_prompt} {_digest(prompt_identity(s.gsrm_prompt))}",
            "regex": s.gsrm_regex,
            "max_tokens": s.gsrm_max_tokens,
            "max_chars": s.gsrm_max_chars,
            "body": body_digest(s.gsrm_body),
        }

    @property
    def identity(self) -> str:
        """The key of this engine's structures except the path: model, prompt, options."""
        s = self.settings
        options = [s.gsrm_regex, s.gsrm_max_chars, s.gsrm_max_tokens, s.gsrm_body]
        parts = [prompt_identity(s.gsrm_prompt), options, self.gsrm_source.key]
        return f"{self.gsrm_name} {_digest(parts)}"

    @property
    def gsrm_source(self) -> ModelSource:
        """The origin of the GSRM; here the weights that this process has loaded."""
        return local_source(self.gsrm_name, self.settings.gsrm_revision)

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the GSRM's structure of a path, with at most three requests."""
        return await self._decompose(problem, domain, path, partial(self._ask, "GSRM"))

    async def _decompose(
        self, problem: str, domain: str, path: str, ask: Callable[..., Awaitable[Reply]]
    ) -> Decomposition:
        """Return the structure of a path.

        A structure that is cut at its token limit is retried once with the largest budget. A reply
        without a structure is retried once at a higher temperature.
        """
        clipped = len(path) > self.settings.gsrm_max_chars
        prompt, options = self.decompose_request(problem, domain, path)
        temperature = 0.0
        kept: Structure | None = None  # the whole steps of a structure that was cut
        while True:
            try:
                reply = await ask(prompt, temperature=temperature, **options)
            except EndpointError as error:
                if not error.refuses_text:
                    raise
                if kept is not None:  # the larger budget exceeds the model's context
                    return Decomposition(kept, clipped=clipped, cut=True)
                return Decomposition(None, "refused", clipped, reply=str(error)[:BEGINNING])
            try:
                structure, is_cut = read_structure(reply)
            except FormatError:
                structure, is_cut = None, reply.is_cut
            if structure is not None and not is_cut:
                return Decomposition(structure, clipped=clipped)
            kept = structure or kept
            if is_cut and options["max_tokens"] < self.settings.gsrm_max_tokens:
                options["max_tokens"] = self.settings.gsrm_max_tokens
            elif structure is None and temperature == 0.0:
                temperature = RETRY_TEMPERATURE
            elif kept is not None:
                return Decomposition(kept, clipped=clipped, cut=True)
            else:
                return Decomposition(
                    None, "undecomposable", clipped, cut=is_cut, reply=beginning_of(reply)
                )

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return the judge's verdict; with `judge_swap` from both orders of the texts."""
        if not self.settings.judge_swap:
            return await self._verdict(field, teacher, student)
        orders = (teacher, student), (student, teacher)
        one, other = await gather_all(self._verdict(field, *texts) for texts in orders)
        return verdict_of_both(one, other, self.settings.judge_threshold)

    async def _verdict(self, field: Field, first: str, second: str) -> Verdict:
        """Return the verdict on texts in this order; one retry uses a constrained choice."""
        prompt = judge_prompt(field, first, second)
        choice = {
            "max_tokens": max(8, self.settings.judge_max_tokens),
            "structured_outputs": {"choice": ["yes", "no"]},
        }
        try:
            if self._logprobs > -self._logprobs_tries:
                free = self.verdict_options()
                reply = await self._ask("judge", prompt, temperature=0.0, **free)
                if reply.has_logprobs or self._logprobs <= 0:
                    self._logprobs = 1 if reply.has_logprobs else self._logprobs - 1
                verdict = read_verdict(reply, self.settings.judge_threshold)
                if verdict:
                    return verdict
            reply = await self._ask("judge", prompt, temperature=0.0, **choice)
            verdict = read_verdict(reply, self.settings.judge_threshold, constrained=True)
        except EndpointError as error:
            if not error.refuses_text:
                raise
            return Verdict(False, "refused", reason=str(error)[:BEGINNING])
        return verdict or Verdict(False, "refused", reason=beginning_of(reply))

    @property
    def _logprobs_tries(self) -> int:
        """`LOGPROBS_TRIES` for each of the judge's servers, which take turns."""
        return LOGPROBS_TRIES * max(1, len(self.settings.judge_base_url))

    def decompose_request(self, problem: str, domain: str, path: str) -> tuple[str, dict[str, Any]]:
        """Return the prompt and the options of the request for a path's structure."""
        settings = self.settings
        path = path[: settings.gsrm_max_chars]
        options: dict[str, Any] = {
            # a structure repeats each step three times, but briefly
            "max_tokens": min(settings.gsrm_max_tokens, 512 + 2 * estimate_tokens(path)),
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
        """Return a model's reply to one user message.

        Raises:
            EndpointError: if the model cannot be used.
        """
        raise NotImplementedError


def body_digest(body: Mapping[str, Any]) -> str:
    """Return a digest of a role's further request keys, which may be secret; empty without any."""
    return _digest(body) if body else ""


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def estimate_tokens(text: str) -> int:
    """Return a high estimate of a text's tokens, for an output budget.

    Four Latin letters or spaces count as a token. Every other character counts as one: digits,
    signs of formulas, Chinese characters, letters of rarer scripts.
    """
    ascii_text = text.encode(
        "ascii", "replace"
    )  # one question mark for each character that is not ASCII
    others = len(ascii_text.translate(None, _LETTERS_AND_SPACE))
    return (len(text) - others) // 4 + others


def verdict_of_both(one: Verdict, other: Verdict, threshold: float) -> Verdict:
    """Combine the verdicts on two texts in both orders.

    The mean of the probabilities decides. If one has no probability, both must match. If one is
    "refused", the result is.
    """
    if one.probability is not None and other.probability is not None:
        mean = (one.probability + other.probability) / 2
        return Verdict(mean >= threshold, "logprob", mean)
    sources = {verdict.source: verdict for verdict in (one, other)}
    weakest = next(sources[s] for s in ("refused", "text", "choice") if s in sources)
    return Verdict(one.matched and other.matched, weakest.source, reason=weakest.reason)
