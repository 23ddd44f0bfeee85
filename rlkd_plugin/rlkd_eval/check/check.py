"""Tests before a run, for `rlkd check`, whether the servers reply as the reward needs.

The engine of the reward itself sends each server of each role a path of each domain, or nine pairs
of texts. Not here: the reading of the replies (`gsrm_replies`, `judge_replies`, `servers`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.in_flight import cancel_all, gather_all
from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.llm_io.own_keys import own_keys
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.request_options import Change
from rlkd_plugin.llm_io.server_engine import ROLES, ServerEngine
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.rlkd_eval.check.findings import Finding, merge
from rlkd_plugin.rlkd_eval.check.gsrm_replies import gsrm_findings
from rlkd_plugin.rlkd_eval.check.gsrm_sentences import SampleDecomposition
from rlkd_plugin.rlkd_eval.check.judge_replies import SampleVerdict, judge_findings
from rlkd_plugin.rlkd_eval.check.local_replies import local_findings
from rlkd_plugin.rlkd_eval.check.samples import PAIRS, PATHS, SamplePair, SamplePath
from rlkd_plugin.rlkd_eval.check.servers import (
    card_of,
    context_findings,
    default_findings,
    option_findings,
    reach,
)
from rlkd_plugin.rlkd_eval.check.watched_engine import WatchedEngine, watch


async def check_engine(engine: Engine, cache: TeacherCache | None = None) -> AsyncIterator[Finding]:
    """Ask an engine's models as the reward does, and yield the findings.

    Args:
        engine: the run's; it is not entered.
        cache: its cache of teacher structures, which a finding counts.
    """
    if not isinstance(engine, ServerEngine):
        for finding in await local_findings(engine):
            yield finding
        if isinstance(cache, DiskCache):
            yield await asyncio.to_thread(_count_cached, cache)
        return
    roles: list[Role] = [role for role in ROLES if role in engine.clients]
    tasks = [asyncio.ensure_future(_role_findings(engine, role)) for role in roles]
    keys = own_keys(*(client.endpoint.api_key_env for client in engine.clients.values()))
    reachable = set()
    try:
        for role, task in zip(roles, tasks, strict=True):
            for finding in await task:
                yield replace(finding, text=keys.redact_error(finding.text))
                if finding.verdict == "ok":
                    reachable.add(role)
    finally:
        await cancel_all(tasks)
    if isinstance(cache, DiskCache) and "GSRM" in reachable:
        for finding in await asyncio.to_thread(_cache_findings, engine, cache):
            yield replace(finding, text=keys.redact_error(finding.text))


async def _role_findings(engine: ServerEngine, role: Role) -> list[Finding]:
    """Return the findings about each of a role's servers."""
    urls = engine.clients[role].endpoint.urls
    found = await asyncio.gather(
        *(_server_findings(WatchedEngine(engine.settings, role, url)) for url in urls)
    )
    return merge(dict(zip(urls, found, strict=True)))


async def _server_findings(engine: WatchedEngine) -> list[Finding]:
    async with engine:
        findings = await reach(engine)
        if findings[0].verdict == "wrong":
            return findings
        try:
            started = time.monotonic()
            asked = await (_structures(engine) if engine.role == "GSRM" else _verdicts(engine))
            findings += _with_seconds(asked, time.monotonic() - started)
        except EndpointError as error:
            return [*findings, Finding("wrong", str(error))]
        card = await card_of(engine)
        rejected = _changes_of(engine)
        findings += default_findings(engine, card, rejected) + option_findings(engine, rejected)
        if engine.role == "GSRM":
            findings += context_findings(engine.settings, card)
    return findings


async def _structures(engine: WatchedEngine) -> list[Finding]:
    async def decompose(sample: SamplePath) -> SampleDecomposition:
        exchanges = watch()
        result = await engine.decompose(sample.problem, sample.domain, sample.path)
        return SampleDecomposition(sample, result, exchanges)

    found = await gather_all(decompose(sample) for sample in PATHS)
    return gsrm_findings(found, engine.settings, _changes_of(engine))


async def _verdicts(engine: WatchedEngine) -> list[Finding]:
    async def match(pair: SamplePair) -> SampleVerdict:
        exchanges = watch()
        verdict = await engine.match(pair.field, pair.teacher, pair.student)
        return SampleVerdict(pair, verdict, exchanges)

    found = await gather_all(match(pair) for pair in PAIRS)
    return judge_findings(found, engine.settings, _changes_of(engine))


def _with_seconds(findings: list[Finding], seconds: float) -> list[Finding]:
    """Return findings, the first with the seconds of all of them, unless it is a fault."""
    first, *others = findings
    return [first if first.verdict == "wrong" else replace(first, seconds=seconds), *others]


def _changes_of(engine: WatchedEngine) -> Mapping[str, Change]:
    """Return the options that the server has rejected so far, and how requests changed."""
    return engine.client.option_changes(engine.url)


def _cache_findings(engine: ServerEngine, cache: DiskCache) -> list[Finding]:
    """Return the identity of the GSRM, and the number of its cached structures."""
    try:
        source = engine.gsrm_source
        cached = _count_cached(cache)
    except RlkdError as error:
        return [Finding("wrong", str(error))]
    return [Finding("look" if source.is_name_alone else "ok", source.describe()), cached]


def _count_cached(cache: DiskCache) -> Finding:
    """Return the number of cached structures of this GSRM."""
    count = cache.count()
    others = sum(1 for _ in cache.folder.glob("*/*/*.json")) - count
    text = f"{count:,} teacher structures of this GSRM are cached (RLKD_CACHE_DIR={cache.folder})"
    if others > 0:
        text += f"; {others:,} of other models, prompts or settings are not read"
    return Finding("ok", text)
