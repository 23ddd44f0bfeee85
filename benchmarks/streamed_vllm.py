"""What ending a GSRM's request early saves at a real vLLM server, and that rewards stay the same.

    vllm serve MODEL --served-model-name m --dtype float32 --generation-config vllm --port 8001
    python -m benchmarks.streamed_vllm http://127.0.0.1:8001/v1 m --data gsm8k_train.jsonl

One server is GSRM (`construct` prompt, regex constraint) and judge. Completions are made of GSM8K's
worked solutions; the server decomposes the teachers beforehand. Then the same batch is scored with
its structures streamed and whole, in turn. Greedy, also where a structure is asked for once more.
`--intervals 1 8` streams once for each of vLLM's `stream_interval`: so many tokens come together.

A line a run: wall seconds, what the server counted (`/metrics`: written tokens, requests by how
they ended), and the client's CPU time. Then, for each streamed run against the whole one beside
it: whether the replies are the same as far as both are known, and whether the rewards are. Replies
may differ where requests share a batch, as its size changes the last bit of a logit; `--alone`
repeats some completions with one structure at a time. Ends with 1 where replies are the same and
rewards are not.
"""

import argparse
import asyncio
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gsm8k_students import make_completions
from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import render_structure
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings

VARIANTS = 4
"""Completions of a problem."""
GREEDY = {"temperature": 0}
"""Keys of each request to the GSRM: a second try is not drawn at random either."""
WRITTEN = "vllm:generation_tokens_total"
ENDED = "vllm:request_success_total"
RUNNING = ("vllm:num_requests_running", "vllm:num_requests_waiting")


@dataclass(frozen=True)
class Run:
    """A batch that was scored once, and what it took."""

    scores: list[Score]
    seconds: float
    cpu_seconds: float
    requests: int
    written: int
    ended: Counter[str]

    def line(self) -> str:
        """Return the figures as text."""
        students = [score.student for score in self.scores]
        early = sum(one.stopped_early for one in students)
        states = Counter(one.status + (" (cut)" if one.cut else "") for one in students)
        # vLLM's counter knows no request whose connection was closed
        ended = self.ended + Counter(closed=self.requests - self.ended.total())
        how = ", ".join(f"{reason} {count}" for reason, count in sorted(ended.items()))
        return (
            f"{self.seconds:6.1f} s, {self.written:6d} tokens written, {self.requests} requests "
            f"({how}), {early} of {len(students)} stopped early, {dict(states)}, "
            f"client {self.cpu_seconds:.2f} s of CPU, {1e6 * self.cpu_seconds / self.written:.0f} "
            "us a token"
        )


def metrics(url: str) -> Counter[str]:
    """Return a server's counters, by name, and requests by the reason why they ended."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        if name in (WRITTEN, *RUNNING):
            found[name] += int(float(value))
        elif name == ENDED:
            reason = labels.partition('finished_reason="')[2].partition('"')[0]
            found[reason] += int(float(value))
    return found


def settled(url: str) -> Counter[str]:
    """Return a server's counters once it writes nothing."""
    while any(metrics(url)[name] for name in RUNNING):
        time.sleep(0.1)
    time.sleep(1.0)  # counts of the last step come behind it
    return metrics(url)


def run(settings: Settings, samples: list[Sample]) -> Run:
    """Score a batch once, in an event loop of its own."""
    engine = ServerEngine(settings)
    (url,) = settings.gsrm_base_url

    async def score() -> list[Score]:
        async with engine:
            return await score_batch(samples, engine)

    before = settled(url)
    started, cpu_started = time.monotonic(), time.process_time()
    scores = asyncio.run(score())
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    counted = settled(url)
    counted.subtract(before)
    written = counted[WRITTEN]
    ended = Counter({name: count for name, count in counted.items() if ":" not in name and count})
    return Run(scores, seconds, cpu_seconds, engine.usage.requests, written, ended)


async def with_teachers(settings: Settings, samples: list[Sample]) -> list[Sample]:
    """Return the samples whose teacher has a structure, with it."""
    engine = ServerEngine(settings)
    problems = {sample.problem: sample for sample in samples}
    async with engine:
        found = await asyncio.gather(
            *(engine.decompose(s.problem, s.domain, s.teacher_reasoning) for s in problems.values())
        )
    structures = {
        problem: render_structure(one.structure)
        for problem, one in zip(problems, found, strict=True)
        if one.structure
    }
    steps = [len(one.structure.steps) for one in found if one.structure]
    print(f"{len(steps)} of {len(found)} teachers have a structure, of {steps} steps", flush=True)
    return [
        replace(sample, teacher_structure=structures[sample.problem])
        for sample in samples
        if sample.problem in structures
    ]


def is_same_reply(streamed: Decomposition, whole: Decomposition) -> bool:
    """Return whether two decompositions are of the same reply, as far as both are known."""
    if not streamed.stopped_early or streamed.structure is None or whole.structure is None:
        return streamed == whole
    known, all_fields = streamed.structure.fields, whole.structure.fields
    if all_fields[: len(known)] != known:
        return False
    rest = all_fields[len(known) :]  # none where the whole reply was cut within this step
    return all(one == other for one, other in zip(streamed.unfinished, rest, strict=False))


def reward(score: Score) -> float | None:
    """Return a completion's reward, None where a side has no structure."""
    return score.reward.total if score.reward else None


def compare(streamed: Run, whole: Run) -> bool:
    """Print how two runs agree; return whether rewards are equal wherever replies are."""
    pairs = list(zip(streamed.scores, whole.scores, strict=True))
    same = [is_same_reply(one.student, other.student) for one, other in pairs]
    equal = [reward(one) == reward(other) for one, other in pairs]
    both = sum(map(all, zip(same, equal, strict=True)))
    rewards = Counter(reward(score) for score in whole.scores)
    print(
        f"  replies the same: {sum(same)} of {len(pairs)}; rewards equal: {sum(equal)}, "
        f"and {both} of the {sum(same)} with the same reply; rewards {dict(rewards)}"
    )
    return both == sum(same)


def score_each_way(ways: list[Settings], samples: list[Sample], is_reverse: bool) -> bool:
    """Score a batch with each settings, the last of which is whole; return whether all agree."""
    runs: list[Run] = []
    for settings in reversed(ways) if is_reverse else ways:
        runs.append(run(settings, samples))
        interval = settings.gsrm_body.get("stream_interval", 1)
        name = f"streamed by {interval}" if settings.stream_structures else "whole"
        print(f"  {name:13} {runs[-1].line()}", flush=True)
    *streamed, whole = reversed(runs) if is_reverse else runs
    agree = [compare(one, whole) for one in streamed]
    return all(agree)


def main() -> None:
    """Score the batch both ways, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--completions", type=int, default=32)
    parser.add_argument("--alone", type=int, default=8, help="completions with one at a time")
    parser.add_argument("--intervals", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings = Settings(
        gsrm_base_url=(options.url,),
        gsrm_model=options.model,
        gsrm_prompt="construct",
        gsrm_regex=True,
        gsrm_max_tokens=options.max_tokens,
        gsrm_body=GREEDY,
        judge_base_url=(options.url,),
        judge_model=options.model,
    )
    problems = -(-options.completions // VARIANTS) + 2  # some teachers have no structure
    samples = make_completions(options.data, problems, options.seed)
    samples = asyncio.run(with_teachers(settings, samples))[: options.completions]
    agree = True
    for number in range(options.rounds):
        print(f"{len(samples)} completions, all requests at once")
        streamed = [
            settings.model_copy(update={"gsrm_body": GREEDY | {"stream_interval": interval}})
            for interval in options.intervals
        ]
        whole = settings.model_copy(update={"stream_structures": False})
        ways = [*streamed, whole]
        agree = score_each_way(ways, samples, is_reverse=number % 2 == 1) and agree
    if options.alone:
        print(f"{options.alone} completions, one structure at a time")
        # beside a structure that is streamed a verdict has to be asked for: a second request
        ways = [settings.model_copy(update={"concurrency": 2})]
        ways.append(settings.model_copy(update={"stream_structures": False, "concurrency": 1}))
        agree = score_each_way(ways, samples[: options.alone], is_reverse=False) and agree
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
