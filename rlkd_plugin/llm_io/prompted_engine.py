"""An engine that prompts models: its requests, and how replies become structures and verdicts.

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
"""Temperature of a retry: at 0 the reply would be the same."""
LOGPROBS_TRIES = 3
"""First verdicts of each server without log-probabilities after which none are asked for."""

_LETTERS_AND_SPACE = (string.ascii_letters + string.whitespace).encode()


class PromptedEngine:
    """Decomposes with a GSRM and matches with a judge; a subclass sends the requests.

    Args:
        settings: the prompts' kind and the models' limits.
        gsrm: the GSRM's name, on which cached structures depend.
    """

    name: str

    def __init__(self, settings: Settings, gsrm: str) -> None:
        self.settings = settings
        self.gsrm_name = gsrm
        self.usage = Usage()
        self._logprobs = 0  # 1: the judge gives them; -n: its first n verdicts had none

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `identity` is made of, by name; None where it is not known on this machine."""
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
        """What this engine's structures depend on beside the path: model, prompt, options."""
        s = self.settings
        options = [s.gsrm_regex, s.gsrm_max_chars, s.gsrm_max_tokens, s.gsrm_body]
        parts = [prompt_identity(s.gsrm_prompt), options, self.gsrm_source.key]
        return f"{self.gsrm_name} {_digest(parts)}"

    @property
    def gsrm_source(self) -> ModelSource:
        """What the GSRM is beside its name; here the weights that this process has loaded."""
        return local_source(self.gsrm_name, self.settings.gsrm_revision)

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure that the GSRM gives a path, in at most three requests."""
        return await self._decompose(problem, domain, path, partial(self._ask, "GSRM"))

    async def _decompose(
        self, problem: str, domain: str, path: str, ask: Callable[..., Awaitable[Reply]]
    ) -> Decomposition:
        """Return the structure of a path.

        A structure that is cut at its token limit is asked for once more with the largest budget,
        a reply without a structure once more at a temperature that can give another one.
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
                if kept is not None:  # the larger budget is more than the server's model has
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
        """Return the judge's verdict; with `judge_swap` that of both orders of the texts."""
        if not self.settings.judge_swap:
            return await self._verdict(field, teacher, student)
        orders = (teacher, student), (student, teacher)
        one, other = await gather_all(self._verdict(field, *texts) for texts in orders)
        return verdict_of_both(one, other, self.settings.judge_threshold)

    async def _verdict(self, field: Field, first: str, second: str) -> Verdict:
        """Return the verdict on texts in this order, with one retry by a constrained choice."""
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
        """As many tries as let each of the judge's servers, which take turns, have its own."""
        return LOGPROBS_TRIES * max(1, len(self.settings.judge_base_url))

    def decompose_request(self, problem: str, domain: str, path: str) -> tuple[str, dict[str, Any]]:
        """Return the prompt for a path's structure, and the request's options."""
        settings = self.settings
        path = path[: settings.gsrm_max_chars]
        options: dict[str, Any] = {
            # a structure says each step three times over, but briefly
            "max_tokens": min(settings.gsrm_max_tokens, 512 + 2 * estimated_tokens(path)),
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


def body_digest(body: Mapping[str, Any]) -> str:
    """Return what tells the further keys of a role's requests from others; they may hold secrets.

    Without any it is empty.
    """
    return _digest(body) if body else ""


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def estimated_tokens(text: str) -> int:
    """Return about as many tokens as a text has, rather more: it is for an output budget.

    Four Latin letters or spaces are a token, and all else is one each: digits, signs of formulas,
    Chinese characters, letters of scripts that tokenizers know less well.
    """
    ascii_text = text.encode("ascii", "replace")  # one question mark for each other character
    others = len(ascii_text.translate(None, _LETTERS_AND_SPACE))
    return (len(text) - others) // 4 + others


def verdict_of_both(one: Verdict, other: Verdict, threshold: float) -> Verdict:
    """Return the verdict on two texts that a judge saw in both orders.

    The mean of the two probabilities decides. Where one has none both must match; where one is
    refused the pair is.
    """
    if one.probability is not None and other.probability is not None:
        mean = (one.probability + other.probability) / 2
        return Verdict(mean >= threshold, "logprob", mean)
    sources = {verdict.source: verdict for verdict in (one, other)}
    weakest = next(sources[s] for s in ("refused", "text", "choice") if s in sources)
    return Verdict(one.matched and other.matched, weakest.source, reason=weakest.reason)
