"""Checks a server itself: its address, its model, its sampling defaults, its options.

Not here: its replies (`gsrm_replies`, `judge_replies`).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.gsrm.prompts import decompose_prompt
from rlkd_plugin.llm_io.chat_client import CHARS_PER_TOKEN
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.model_cards import Card, ask_cards
from rlkd_plugin.llm_io.prompted_engine import estimate_tokens
from rlkd_plugin.llm_io.proxies import is_this_machine
from rlkd_plugin.llm_io.request_options import LIMITS, NEUTRAL, Change
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.weight_fingerprint import folder_of
from rlkd_plugin.rlkd_eval.check.findings import Finding, join_names, quote_error, quote_keys
from rlkd_plugin.rlkd_eval.check.samples import PATHS
from rlkd_plugin.rlkd_eval.check.watched_engine import WatchedEngine

_NEUTRAL_TOP_K = (NEUTRAL["top_k"], 0)
_IN_FINDINGS = ("logprobs", "top_logprobs")
"""Rejected options that the findings about verdicts explain."""


async def reach(engine: WatchedEngine) -> list[Finding]:
    """Return whether a server answers; if not, the reason and what to change."""
    endpoint = engine.client.endpoint
    started = time.monotonic()
    try:
        await engine.client.probe()
    except EndpointError as error:
        hint = await _hint(endpoint) if error.status == 404 else ""
        if error.refuses_text and endpoint.body:
            hint = f"; check {quote_keys(endpoint.body)} of {endpoint.variable('BODY')}"
        return [Finding("wrong", f"{error}{hint}")]
    text = f"{endpoint.role} {endpoint.model}: {engine.url} answers"
    return [Finding("ok", text, time.monotonic() - started)]


async def _hint(endpoint: Endpoint) -> str:
    """Return the models that a server lists, or the right address, after a 404."""
    url, model = endpoint.urls[0], endpoint.variable("MODEL")
    if names := await _names(endpoint):
        return f"; the models there are {join_names(map(repr, names))}: set {model} to one of them"
    longer = f"{url}/v1"
    names = await _names(replace(endpoint, urls=(longer,)))
    if names:
        right = f"{endpoint.variable('BASE_URL')}={longer}"
        return (
            f"; /v1 is missing: set {right} (the models there are {join_names(map(repr, names))})"
        )
    return ""


async def _names(endpoint: Endpoint) -> tuple[str, ...]:
    (card,) = (await ask_cards(endpoint)).values()
    if card.fault or not card.is_reply:
        return card.names
    return (endpoint.model,)


async def card_of(engine: WatchedEngine) -> Card:
    """Return the server's entry for its model."""
    return (await ask_cards(engine.client.endpoint))[engine.url]


def default_findings(
    engine: WatchedEngine, card: Card, rejected: Mapping[str, Change]
) -> list[Finding]:
    """Return the server's own sampling defaults, and whether they have an effect.

    They are known where the model's folder is on this machine. Requests override all of them,
    except those that the server rejects.
    """
    role = engine.role
    file, defaults = _generation_config(engine, card)
    dropped = {name: change for name, change in rejected.items() if _is_dropped(change)}
    findings = []
    for name in NEUTRAL:
        if name not in dropped:
            continue
        said = f"the {role}'s server rejects `{name}` ({quote_error(dropped[name].words)})"
        remedy = "serve it with `--generation-config vllm`"
        if name in defaults:
            text = f"{said}, so {name} {defaults[name]:g} of {file} applies: {remedy}"
            findings.append(Finding("wrong", text))
        elif not file:
            text = f"{said}: its own default applies, if it has one; {remedy} (vLLM)"
            findings.append(Finding("look", text))
    held = {name: value for name, value in defaults.items() if name not in dropped}
    if held:
        values = join_names(f"{name} {value:g}" for name, value in held.items())
        text = f"{role}: {values} of {file} would be the defaults; requests override them"
        findings.append(Finding("ok", text))
    return findings


def _generation_config(engine: WatchedEngine, card: Card) -> tuple[str, dict[str, float]]:
    """Return the file of a model's sampling defaults, and those that are not neutral."""
    name = engine.client.endpoint.model
    model = card.root or (name if "/" in name else "")
    folder = folder_of(model, is_local=is_this_machine(engine.url))
    if folder is None:
        return "", {}
    file = Path(folder) / "generation_config.json"
    try:
        config: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    values = config if isinstance(config, dict) else {}
    found = {
        key: float(values[key])
        for key, neutral in NEUTRAL.items()
        if isinstance(values.get(key), int | float)
        and values[key] not in (_NEUTRAL_TOP_K if key == "top_k" else (neutral,))
    }
    return str(file), found


def option_findings(engine: WatchedEngine, rejected: Mapping[str, Change]) -> list[Finding]:
    """Return the rejected options that no other finding explains."""
    endpoint = engine.client.endpoint
    findings = []
    for name, change in rejected.items():
        if name in _IN_FINDINGS or (name in NEUTRAL and _is_dropped(change)):
            continue
        text = (
            f"the {engine.role}'s server rejects `{name}` ({quote_error(change.words)}): {change}"
        )
        if name in endpoint.body:
            text += f", so {endpoint.variable('BODY')} has no effect; correct it"
        elif name == "structured_outputs":
            text += ", so nothing constrains a reply; vLLM accepts it"
        elif name == "stop":
            text += ", so the GSRM has to end by itself"
        elif name in LIMITS and change.bound and not change.is_least:
            limit = endpoint.variable("MAX_TOKENS")
            text += f"; set {limit}={change.bound:g} or less, or the server's `--max-model-len`"
        is_nearly = name == "temperature" and change.bound is not None
        is_same = bool(change.rename) or change.is_least or is_nearly
        findings.append(Finding("ok" if is_same else "look", text))
    return findings


def _is_dropped(change: Change) -> bool:
    """Return whether a rejected option is dropped from requests."""
    return change.bound is None and not change.rename


def context_findings(settings: Settings, card: Card) -> list[Finding]:
    """Return whether the longest path and its structure fit into the GSRM's context."""
    sample = PATHS[0]
    prompt = decompose_prompt(settings.gsrm_prompt, sample.domain, sample.problem, "")
    path = settings.gsrm_max_chars // CHARS_PER_TOKEN
    needed = estimate_tokens(prompt) + path + settings.gsrm_max_tokens
    if not card.context or card.context >= needed:
        return []
    return [
        Finding(
            "look",
            f"the GSRM's server has a context of {card.context:,} tokens; the longest path "
            f"(RLKD_GSRM_MAX_CHARS={settings.gsrm_max_chars}, about {path:,} tokens) with its "
            f"structure (RLKD_GSRM_MAX_TOKENS={settings.gsrm_max_tokens}) needs about {needed:,}: "
            f"serve it with `--max-model-len {-(-needed // 1024) * 1024}`, or lower one of the two",
        )
    ]
