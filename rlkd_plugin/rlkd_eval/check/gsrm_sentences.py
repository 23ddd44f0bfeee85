"""Words the faults of a GSRM: each sentence names the setting or the option to change.

Pure. Not here: which fault a reply has (`gsrm_replies`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.request_options import Change
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_eval.check.findings import (
    NO_THINKING,
    cut_advice,
    join_names,
    quote,
    quote_error,
    quote_keys,
)
from rlkd_plugin.rlkd_eval.check.samples import SamplePath
from rlkd_plugin.rlkd_eval.check.watched_engine import Exchange

_TOO_LONG = re.compile(r"context|too long|max(?:imum)?.{0,20}(?:len|tokens)|exceed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SampleDecomposition:
    """A sample path, its decomposition by the engine, and the requests and replies."""

    sample: SamplePath
    result: Decomposition
    exchanges: Sequence[Exchange] = ()

    @property
    def last(self) -> Exchange | None:
        """The last exchange that has a reply."""
        return next((one for one in reversed(self.exchanges) if one.reply is not None), None)


@dataclass(frozen=True, slots=True)
class Case:
    """The paths that share a fault, out of `total`, and what explains it."""

    some: Sequence[SampleDecomposition]
    total: int
    settings: Settings
    rejected: Mapping[str, Change]

    @property
    def share(self) -> str:
        """How many paths have the fault, and in which domains."""
        if len(self.some) == self.total:
            return f"all {self.total} paths"
        domains = join_names(one.sample.domain for one in self.some)
        return f"{len(self.some)} of {self.total} paths ({domains})"

    @property
    def last(self) -> Exchange | None:
        """The last exchange of the first of them that has a reply."""
        return next((one.last for one in self.some if one.last is not None), None)

    @property
    def reply(self) -> Reply:
        """The last reply to the first of them that has one."""
        return self.last.reply if self.last and self.last.reply else Reply("")


def _form(case: Case) -> str:
    settings = case.settings
    said = f"the GSRM writes no structure for {case.share}, but {quote(_beginning(case.reply))}"
    if settings.gsrm_regex:
        if change := case.rejected.get("structured_outputs"):
            return (
                f"{said}, and RLKD_GSRM_REGEX=true has no effect: the server rejects "
                f"`structured_outputs` ({quote_error(change.words)}); serve it with vLLM, or "
                "train the GSRM"
            )
        return (
            f"{said}, though RLKD_GSRM_REGEX=true: the server ignores "
            "`structured_outputs`; serve it with vLLM, or train the GSRM"
        )
    if settings.gsrm_prompt == "construct":
        return (
            f"{said}, though RLKD_GSRM_PROMPT=construct: RLKD_GSRM_REGEX=true makes a weak "
            "model keep the format (vLLM); otherwise serve a larger model, or train the GSRM"
        )
    return (
        f"{said}: RLKD_GSRM_PROMPT=gsrm needs a trained GSRM; RLKD_GSRM_PROMPT=construct suits any "
        "model, and RLKD_GSRM_REGEX=true makes a weak one keep the format"
    )


def _thinks(case: Case) -> str:
    reply, spent = case.reply, _tokens_of(case.last)
    filled = f", and its thinking fills the {spent} tokens" if reply.is_cut and spent else ""
    otherwise = "serve a GSRM that does not think"
    if reply.thinking:
        otherwise = "serve it without `--reasoning-parser`, which may mistake any text for thinking"
    return (
        f"the GSRM thinks before it decomposes {case.share}{filled}: "
        f"{quote(reply.thinking or reply.text)}; set RLKD_GSRM_BODY='{NO_THINKING}', or "
        f"{otherwise}"
    )


def _thinks_first(case: Case) -> str:
    return (
        f"the GSRM thinks before it decomposes {case.share}, which leaves fewer tokens for the "
        f"structure: {quote(case.reply.thinking or case.reply.text)}; set "
        f"RLKD_GSRM_BODY='{NO_THINKING}', or serve a GSRM that does not think"
    )


def _lacks_content(case: Case) -> str:
    return (
        f"the GSRM's reply to {case.share} is in `reasoning_content`, and its content is empty: "
        f"{quote(case.reply.thinking)}; a reasoning parser mistakes it for thinking: serve the "
        "GSRM without `--reasoning-parser`"
    )


def _separate(case: Case) -> str:
    return (
        f"the GSRM's structure is in `reasoning_content` ({case.share}), where it is read: a "
        "reasoning parser mistakes it for thinking; serve the GSRM without `--reasoning-parser`"
    )


def _cut(case: Case) -> str:
    asked = case.last.options.get("max_tokens", 0) if case.last else 0
    said = f"the GSRM's structure of {case.share} is cut at its token limit"
    written = case.reply.completion_tokens
    if written and written < asked:
        return (
            f"{said}: the server ends it after {written} of {asked} tokens; serve the GSRM with a "
            "larger `--max-model-len`, and without `max_new_tokens` in its generation config "
            "(`--generation-config vllm`)"
        )
    if "stop" in case.rejected:
        return (
            f"{said}, {asked} tokens: it does not end by itself, and the server rejects `stop` "
            f"({quote_error(case.rejected['stop'].words)}); serve it with vLLM, or train the GSRM"
        )
    return (
        f"{said}, {asked} tokens (RLKD_GSRM_MAX_TOKENS={case.settings.gsrm_max_tokens}): set "
        "RLKD_GSRM_MAX_TOKENS=4096 or more, and a `--max-model-len` of the server to fit; a GSRM "
        "that does not end by itself needs training, or RLKD_GSRM_REGEX=true"
    )


def _rejects(case: Case) -> str:
    first = case.some[0]
    errors = [one.error for one in first.exchanges if one.error]
    words = cut_advice(errors[-1] if errors else first.result.reply) or "no message"
    remedy = "see the server's log"
    if case.settings.gsrm_body:
        remedy = f"check {quote_keys(case.settings.gsrm_body)} of RLKD_GSRM_BODY"
    if _TOO_LONG.search(words):
        remedy = (
            "serve the GSRM with a larger `--max-model-len`, or lower "
            f"RLKD_GSRM_MAX_TOKENS={case.settings.gsrm_max_tokens}"
        )
    return f"the GSRM's server rejects {case.share}: {words}; {remedy}"


def _needs_retry(case: Case) -> str:
    first = case.some[0].exchanges[0].reply or Reply("")
    return (
        f"the GSRM's first reply to {case.share} has no structure ({quote(_beginning(first))}), "
        "the second has: each such path costs two requests; RLKD_GSRM_REGEX=true makes it keep the "
        "format"
    )


SENTENCES: dict[str, Callable[[Case], str]] = {
    "form": _form,
    "thinks": _thinks,
    "swallowed": _lacks_content,
    "separate": _separate,
    "cut": _cut,
    "rejected": _rejects,
    "retried": _needs_retry,
    "thinks_first": _thinks_first,
}
"""The sentence of each fault, by its name."""


def _beginning(reply: Reply) -> str:
    return split_thinking(reply.text)[1] or reply.text


def _tokens_of(exchange: Exchange | None) -> int:
    """Return the tokens of a reply: the server's count, else the limit of the request."""
    if exchange is None or exchange.reply is None:
        return 0
    return exchange.reply.completion_tokens or exchange.options.get("max_tokens", 0)
