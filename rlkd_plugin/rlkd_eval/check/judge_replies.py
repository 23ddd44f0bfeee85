"""Finds the faults of a judge, its server and its settings in the replies to the sample pairs.

Pure. Not here: the requests (`check`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.replies import Reply, after_thinking
from rlkd_plugin.llm_io.request_options import Change
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.verdicts import yes_or_no
from rlkd_plugin.rlkd_eval.check.findings import (
    NO_THINKING,
    Finding,
    cut_advice,
    join_names,
    quote,
    quote_error,
)
from rlkd_plugin.rlkd_eval.check.samples import SamplePair
from rlkd_plugin.rlkd_eval.check.watched_engine import Exchange

ROOM = 2048
"""Token limit that lets a judge think and then answer."""

_WORDS_ALONE = "verdicts are read from its words, and RLKD_JUDGE_THRESHOLD has no effect"
_LACKS_CONTENT = (
    "the judge's answer is in `reasoning_content`, and its content is empty: a reasoning parser "
    "mistakes it for thinking; serve the judge without `--reasoning-parser`"
)
_THINK_MARK = "<think>"


@dataclass(frozen=True, slots=True)
class SampleVerdict:
    """A sample pair, the engine's verdict, and the requests and replies."""

    pair: SamplePair
    verdict: Verdict
    exchanges: Sequence[Exchange] = ()

    @property
    def first(self) -> Reply | None:
        """The reply to the first request."""
        return self.exchanges[0].reply if self.exchanges else None

    @property
    def needs_second_request(self) -> bool:
        """Whether a constrained choice was requested after a reply without a verdict."""
        return len({"structured_outputs" in one.options for one in self.exchanges}) > 1

    @property
    def is_readable(self) -> bool:
        """Whether there is a verdict."""
        return self.verdict.source != "refused"


def judge_findings(
    found: Sequence[SampleVerdict], settings: Settings, rejected: Mapping[str, Change]
) -> list[Finding]:
    """Return the faults of a judge's replies, each with the setting or option to change.

    Args:
        found: the sample pairs with their replies.
        settings: those of the run.
        rejected: the options that the server rejected, and how requests changed.
    """
    unreadable = [one for one in found if not one.is_readable]
    is_wrong = 2 * len(unreadable) >= len(found)
    findings = [] if is_wrong else [verdict_counts(found)]
    if unreadable:
        text = f"{len(unreadable)} of {len(found)} verdicts are unreadable: "
        text += _explain_replies(unreadable, settings)
        findings.append(Finding("wrong" if is_wrong else "look", text))
    elif twice := [one for one in found if one.needs_second_request]:
        text = f"{len(twice)} of {len(found)} verdicts cost a second request: "
        text += _explain_replies(twice, settings)
        findings.append(Finding("look", text))
    elif any(one.first and _is_swallowed(one.first) for one in found):
        findings.append(Finding("look", _LACKS_CONTENT))
    elif any(one.first and _thinks_first(one.first) for one in found):
        text = (
            "the judge thinks before each verdict, which costs tokens and time; "
            f"RLKD_JUDGE_BODY='{NO_THINKING}' turns it off where the model allows it"
        )
        findings.append(Finding("look" if settings.judge_max_tokens == 1 else "ok", text))
    if is_wrong:
        return findings
    if text := _log_probabilities([one.first for one in found if one.first], rejected):
        findings.append(Finding("look", text))
    return findings


def verdict_counts(found: Sequence[SampleVerdict]) -> Finding:
    """Return how many verdicts are right, and whether the judge distinguishes texts at all."""
    sources = join_names(sorted({one.verdict.source for one in found}))
    wrong = [one for one in found if one.verdict.matched is not one.pair.match]
    text = f"{len(found) - len(wrong)} of {len(found)} verdicts as expected, by {sources}"
    said = {
        match: [one.verdict.matched for one in found if one.pair.match is match]
        for match in (True, False)
    }
    yes_rates = {match: sum(words) / len(words) for match, words in said.items()}
    if yes_rates[True] <= yes_rates[False]:
        every = {(1.0, 1.0): "says yes to every pair", (0.0, 0.0): "says no to every pair"}.get(
            (yes_rates[True], yes_rates[False]), "says yes to different texts as often as to equal"
        )
        return Finding(
            "wrong",
            f"the judge {every} ({text}): name another judge in RLKD_JUDGE_MODEL, or correct "
            "RLKD_JUDGE_THRESHOLD, and measure it with `rlkd judge-check`",
        )
    if not wrong:
        return Finding("ok", text)
    kinds = {"equal": "nearly equal texts", "same": "the same in other words", "other": "others"}
    mistakes = join_names(
        f"{'yes' if kind == 'other' else 'no'} to {name} ("
        f"{join_names(one.pair.field for one in wrong if one.pair.kind == kind)})"
        for kind, name in kinds.items()
        if any(one.pair.kind == kind for one in wrong)
    )
    return Finding("look", f"{text}; it says {mistakes}: measure it with `rlkd judge-check`")


def _explain_replies(found: Sequence[SampleVerdict], settings: Settings) -> str:
    """Return why the first replies hold no verdict."""
    for one in found:
        if one.first and _thinks(one.first):
            return _thinking(one.first, settings)
    if any(one.first and _is_swallowed(one.first) for one in found):
        return _LACKS_CONTENT
    first = next((one.first for one in found if one.first), None)
    if first is None:
        errors = [exchange.error for exchange in found[0].exchanges if exchange.error]
        words = cut_advice(errors[-1] if errors else found[0].verdict.reason)
        return f"the judge's server rejects the request: {words or 'no message'}; see its log"
    return (
        f"the judge answers {quote(first.text)}, not yes or no: name another judge in "
        f"RLKD_JUDGE_MODEL; one that reasons first needs RLKD_JUDGE_MAX_TOKENS={ROOM}"
    )


def _log_probabilities(replies: Sequence[Reply], rejected: Mapping[str, Change]) -> str:
    """Return why verdicts cannot be read from log-probabilities, or not from all of them."""
    if change := rejected.get("logprobs"):
        said = (
            f"the judge's server rejects `logprobs` ({quote_error(change.words)}): {_WORDS_ALONE}"
        )
        return said + _remedy(change.words)
    if change := rejected.get("top_logprobs"):
        said = f"the judge's server rejects `top_logprobs` ({quote_error(change.words)}): {change}"
        return said + _remedy(change.words)
    if replies and not any(reply.has_logprobs for reply in replies):
        given = "log-probabilities without numbers" if replies[0].tokens else "no log-probabilities"
        return (
            f"the judge's server returns {given}, though they are requested: {_WORDS_ALONE}; vLLM "
            "and SGLang return them"
        )
    return ""


def _thinking(reply: Reply, settings: Settings) -> str:
    """Return the sentence about a judge that thinks before it answers."""
    tokens = settings.judge_max_tokens
    room = f"RLKD_JUDGE_MAX_TOKENS={ROOM if tokens < ROOM else 2 * tokens}"
    token = reply.tokens[0][0] if reply.tokens else ""
    begins = quote(reply.text.strip() or reply.thinking or token)
    return (
        f"the judge thinks before it answers ({begins}) and has {tokens} token"
        f"{'s' * (tokens > 1)} (RLKD_JUDGE_MAX_TOKENS); set RLKD_JUDGE_BODY='{NO_THINKING}', or "
        f"give it room: {room}"
    )


def _thinks(reply: Reply) -> bool:
    """Return whether a reply is thinking, without an answer."""
    text = reply.text.strip()
    if not text:
        token = reply.tokens[0][0].strip() if reply.tokens else ""
        return bool(reply.thinking.strip() and not _is_swallowed(reply)) or _opens(token)
    return not after_thinking(text) or _opens(text)


def _opens(text: str) -> bool:
    """Return whether a text opens a thinking block, or is part of such a mark."""
    return bool(text) and (not after_thinking(text) or _THINK_MARK.startswith(text.lower()))


def _thinks_first(reply: Reply) -> bool:
    """Return whether a reply has thinking before its answer."""
    return bool(reply.text.strip() and (reply.thinking.strip() or split_thinking(reply.text)[0]))


def _is_swallowed(reply: Reply) -> bool:
    """Return whether the answer is where a server returns thinking."""
    return not reply.text.strip() and yes_or_no(reply.thinking) is not None


def _remedy(words: str) -> str:
    """Return the remedy for a server that limits log-probabilities, by its message."""
    if re.search(r"max[_ -]?logprobs|maximum|at most|less than|up to|greater than", words):
        return "; serve the judge with `--max-logprobs 20` (vLLM)"
    return "; a vLLM server accepts it"
