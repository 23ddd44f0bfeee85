"""Our schedule of a batch and the authors', each with its seconds, requests and cache hits."""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.reference_schedule import Reference
from benchmarks.request_log import RequestLog, depth
from benchmarks.reward_engines import LoggedEngine, MemoryCache
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.batch import score

PREFIX_CACHE = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")


@dataclass
class Outcome:
    """What a schedule sent and returned; `scores` are of ours alone."""

    logs: dict[str, RequestLog]
    rewards: list[float]
    scores: list[Score] = field(default_factory=list)


@dataclass
class Measurement:
    """A schedule's outcome, its seconds, and the hit rate of the server's prefix cache."""

    name: str
    outcome: Outcome
    seconds: float
    hit_rate: str = ""

    def row(self) -> str:
        """Return a line of the table."""
        gsrm, judge = self.outcome.logs["GSRM"], self.outcome.logs["judge"]
        tokens = gsrm.prompt_tokens + judge.prompt_tokens
        generated = gsrm.completion_tokens + judge.completion_tokens
        behind = depth([*gsrm.times, *judge.times])
        return (
            f"| {self.name} | {self.seconds:.2f} | {gsrm.requests} | {gsrm.closed} | "
            f"{judge.requests} | {tokens:,} | {generated:,} | {behind} | {self.hit_rate} |"
        )


class Schedules:
    """Scores the same samples by one schedule or another.

    Args:
        settings: name the server.
        samples: completions; their teachers are decomposed here, into the cache of our schedule.
    """

    def __init__(self, settings: Settings, samples: list[Sample]) -> None:
        self.settings = settings
        self.samples = samples
        self._cache = MemoryCache()
        prompts = dict.fromkeys((s.problem, s.domain, s.teacher_reasoning) for s in samples)
        score(ServerEngine(settings), [Sample("", *prompt) for prompt in prompts], self._cache)

    def whole(self) -> Outcome:
        """Score as the reward does without streams."""
        settings = self.settings.model_copy(update={"stream_structures": False})
        return self.ours(LoggedEngine(settings))

    def ours(self, engine: LoggedEngine) -> Outcome:
        """Score as the reward does."""
        scores = score(engine, self.samples, self._cache)
        rewards = [one.reward.total if one.reward else 0.0 for one in scores]
        return Outcome(engine.logs, rewards, scores)

    def reference(self, workers: int | None) -> Outcome:
        """Score by the authors' schedule."""
        reference = Reference(ServerEngine(self.settings), workers)
        return Outcome(reference.logs, reference.score(self.samples))


def measure(name: str, schedule: Callable[[], Outcome], url: str = "") -> Measurement:
    """Run a schedule.

    Args:
        name: of its line in the table.
        schedule: scores the samples.
        url: of a real server, whose prefix cache is emptied before and read after.
    """
    if url:
        empty_prefix_cache(url)
    before = prefix_cache(url) if url else []
    begin = time.monotonic()
    outcome = schedule()
    measurement = Measurement(name, outcome, time.monotonic() - begin)
    if before:
        queries, hits = (b - a for a, b in zip(before, prefix_cache(url), strict=True))
        measurement.hit_rate = f"{hits / queries:.1%}"
    return measurement


def prefix_cache(url: str) -> list[float]:
    """Return the tokens that a server looked up in its prefix cache, and those it found."""
    try:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics") as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return []
    return [sum(float(x.split()[-1]) for x in lines if x.startswith(name)) for name in PREFIX_CACHE]


def empty_prefix_cache(url: str) -> None:
    """Empty a real server's prefix cache, where it is in development mode."""
    request = urllib.request.Request(
        url.removesuffix("/v1") + "/reset_prefix_cache", data=b"", method="POST"
    )
    try:
        urllib.request.urlopen(request).close()
    except OSError:
        print("the prefix cache is not emptied between: VLLM_SERVER_DEV_MODE=1 allows it")
