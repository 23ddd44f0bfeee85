"""The reward's time and requests, beside those of the authors' schedule, on the same server.

    python benchmarks/reward.py gsm8k_train.jsonl        # scripted: GSRM 2 s, judge 0.1 s
    python benchmarks/reward.py gsm8k_train.jsonl --judge 0.02 --capacity 256
    python benchmarks/reward.py gsm8k_train.jsonl --url http://127.0.0.1:8001/v1 --model NAME
    python benchmarks/reward.py gsm8k_train.jsonl --cpu  # our own CPU time a completion

Problems of GSM8K with four completions each: the worked solution in other words, with a wrong
end, without its second step, with another first step. The scripted server runs in a process of its
own (`scripted_server.py`); a real one is both GSRM (`construct` prompt, regex constraint) and
judge, and its prefix cache's hit rate is read from /metrics. Ours runs with a warm teacher cache,
as in every step but the first of an epoch; the reference decomposes the teacher of every
completion, so it has none. The bound is max(GSRM latency + judge latency x longest chain of
meta-reasonings, total work / capacity). Rewards have to be equal.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import socket
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import Field, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row

if __package__ in (None, ""):
    from reference_schedule import Asked, Reference, depth
    from scripted_server import run as run_scripted
else:
    from benchmarks.reference_schedule import Asked, Reference, depth
    from benchmarks.scripted_server import run as run_scripted

MEASURED = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"


class MemoryCache(dict[tuple[str, str, str], Structure]):
    """A teacher cache that is warm: it holds what was put into it."""

    def get(self, *key: str) -> Structure | None:
        """Return a structure, if it is known."""
        return super().get(key)

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Keep a structure."""
        self[problem, domain, path] = structure


class InstructionLast(ServerEngine):
    """Asks the same with what many requests have in common at the end, where no cache finds it."""

    async def _ask(self, role: Any, prompt: str, **options: Any) -> Any:
        mark = "⟦problem⟧" if role == "GSRM" else "⟦first "
        at = prompt.rindex(mark) if mark in prompt else 0
        return await super()._ask(role, f"{prompt[at:]}\n\n{prompt[:at]}", **options)


@dataclass
class Measured:
    """What a schedule took."""

    name: str
    seconds: float
    asked: dict[str, Asked]
    rewards: list[float]
    hits: str = ""

    def row(self) -> str:
        """Return a line of the table."""
        gsrm, judge = self.asked["GSRM"], self.asked["judge"]
        tokens = gsrm.prompt_tokens + judge.prompt_tokens
        generated = gsrm.completion_tokens + judge.completion_tokens
        behind = depth([*gsrm.times, *judge.times])
        return (
            f"| {self.name} | {self.seconds:.2f} | {gsrm.requests} | {judge.requests} | "
            f"{tokens:,} | {generated:,} | {behind} | {self.hits} |"
        )


def completions(file: Path, prompts: int, seed: int) -> list[Sample]:
    """Return four completions for each of some problems with three steps or more."""
    dice = random.Random(seed)
    rows = [gsm8k_row(json.loads(line)) for line in file.read_text("utf-8").splitlines()[:2000]]
    dice.shuffle(rows)
    samples: list[Sample] = []
    for row in rows:
        steps = [line for line in row["teacher_reasoning"].splitlines() if "=" in line]
        if len(steps) < 3:
            continue
        worded = [f"Then we see that {step[0].lower()}{step[1:]}" for step in steps]
        last = worded[-1].rpartition("=")[0]
        variants = (
            worded,
            [*worded[:-1], f"{last}= {dice.randint(1000, 9999)}"],
            [worded[0], *worded[2:]],
            ["At the start 7 + 8 = 15 things are put aside.", *worded[1:]],
        )
        for number, variant in enumerate(variants):
            text = "\n".join(f"{step} " + "Let me check it. " * number for step in variant)
            about = row["problem"], row["domain"], row["teacher_reasoning"]
            samples.append(Sample(f"<think>\n{text}\n</think>", *about))
        if len(samples) == 4 * prompts:
            return samples
    raise SystemExit(f"{file} has too few problems with three steps")


def noting(engine: ServerEngine) -> dict[str, Asked]:
    """Note every request of an engine."""
    asked = {"GSRM": Asked(), "judge": Asked()}
    for client in (engine.gsrm, engine.judge):
        complete, notes = client.complete, asked[client.endpoint.role]

        async def noted(*args: Any, complete: Any, notes: Asked, **options: Any) -> Any:
            begin = time.monotonic()
            reply = await complete(*args, **options)
            notes.note(reply, begin)
            return reply

        client.complete = partial(noted, complete=complete, notes=notes)  # type: ignore[method-assign]
    return asked


def scored(engine: ServerEngine, samples: list[Sample], cache: MemoryCache) -> list[Score]:
    """Score a batch as the reward does, in an event loop of its own."""

    async def work() -> list[Score]:
        async with engine:
            return await score_batch(samples, engine, cache)

    return asyncio.run(work())


def metrics(url: str) -> list[float]:
    """Return the tokens that a server looked up in its prefix cache, and those it found."""
    try:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics") as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return []
    return [sum(float(x.split()[-1]) for x in lines if x.startswith(name)) for name in MEASURED]


def forget(url: str) -> None:
    """Empty a real server's prefix cache, where it is in development mode."""
    request = urllib.request.Request(
        url.removesuffix("/v1") + "/reset_prefix_cache", data=b"", method="POST"
    )
    try:
        urllib.request.urlopen(request).close()
    except OSError:
        print("the prefix cache is not emptied between: VLLM_SERVER_DEV_MODE=1 allows it")


def compare(settings: Settings, samples: list[Sample], args: argparse.Namespace) -> None:
    """Measure ours and both references, and print the table."""
    url = settings.gsrm_base_url[0]
    cache = MemoryCache()
    warm = ServerEngine(settings)
    scored(warm, [Sample("", *teacher) for teacher in teachers(samples)], cache)
    measured: list[Measured] = []

    def measure(name: str, act: Any) -> None:
        if args.url:
            forget(url)
        before = metrics(url) if args.url else []
        begin = time.monotonic()
        rewards, asked = act()
        seconds = time.monotonic() - begin
        hits = ""
        if before:
            looked, found = (b - a for a, b in zip(before, metrics(url), strict=True))
            hits = f"{found / looked:.1%}"
        measured.append(Measured(name, seconds, asked, rewards, hits))

    def ours(
        kind: type[ServerEngine] = ServerEngine,
    ) -> tuple[list[float], dict[str, Asked]]:
        engine = kind(settings)
        asked = noting(engine)
        scores = scored(engine, samples, cache)
        measured_scores.extend(scores)
        return [score.reward.total if score.reward else 0.0 for score in scores], asked

    def reference(workers: int | None) -> tuple[list[float], dict[str, Asked]]:
        schedule = Reference(ServerEngine(settings), workers)
        return schedule.score(samples), schedule.asked

    measured_scores: list[Score] = []
    measure("ours", ours)
    if args.url:
        measure("ours, prompts with the instruction last", lambda: ours(InstructionLast))
    measure("reference, ThreadPoolExecutor()", lambda: reference(None))
    measure("reference, a thread a completion", lambda: reference(len(samples)))
    print(
        "| schedule | seconds | GSRM requests | judge requests | prompt tokens | generated | "
        "depth | prefix cache |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for one in measured:
        print(one.row())
    first, *others = measured
    for other in others[bool(args.url) :]:
        gsrm, judge = (first.asked[r].requests / other.asked[r].requests for r in first.asked)
        equal = sum(a == b for a, b in zip(first.rewards, other.rewards, strict=True))
        print(
            f"{other.name}: {other.seconds / first.seconds:.1f} x our time; we send {gsrm:.2f} of "
            f"its GSRM and {judge:.2f} of its judge requests; {equal} of {len(samples)} rewards "
            "equal"
        )
    if not args.url:
        chain = max(
            sum(question.field == "meta_reasoning" for question, _ in score.verdicts)
            for score in measured_scores
        )
        work = sum(
            first.asked[role].requests * latency
            for role, latency in (("GSRM", args.gsrm), ("judge", args.judge))
        )
        bound = max(args.gsrm + args.judge * chain, work / args.capacity)
        print(
            f"bound {bound:.2f} s (chain of {chain}, work {work:.0f} s / {args.capacity}): ours is "
            f"{first.seconds / bound:.2f} x the bound"
        )


def teachers(samples: list[Sample]) -> list[tuple[str, str, str]]:
    """Return each prompt's problem, domain and teacher path, once."""
    return list(dict.fromkeys((s.problem, s.domain, s.teacher_reasoning) for s in samples))


class AtOnce(ServerEngine):
    """Gives known structures, and yes to every question, without a server."""

    structure: Structure

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure."""
        self.decompose_request(problem, domain, path)  # the prompt is made all the same
        return Decomposition(parse_structure(render_structure(self.structure)))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Say yes."""
        judge_prompt(field, teacher, student)
        return Verdict(True, "logprob", 1.0)


def cpu(settings: Settings, prompts: int) -> None:
    """Measure our process's CPU time with a server that answers at once, for long paths.

    All of a path's 12 steps match, so that each needs all three questions.
    """
    filler = "Wait, let me look at this once more before I go on with the next part of it. "
    samples = []
    for number in range(4 * prompts):
        steps = [f"In room {n} there are {n + 2} + {n + 3} = {2 * n + 5} pens." for n in range(12)]
        path = "\n".join(f"{step} {filler * 17}" for step in steps)
        about = f"Problem {number // 4}", "math", path.replace("there are", "we find")
        samples.append(Sample(f"<think>{path} {number}</think>", *about))
    length = sum(len(s.completion) for s in samples) // len(samples)
    engine, at_once = ServerEngine(settings), AtOnce(settings)
    cache = MemoryCache()
    at_once.structure = next(
        score.student.structure
        for score in scored(engine, samples, cache)
        if score.student.structure
    )
    for name, measured in (("with its requests", engine), ("without", at_once)):
        times = []
        for _ in range(7):
            begin = time.process_time()
            scores = scored(measured, samples, cache)
            times.append((time.process_time() - begin) / len(samples) * 1000)
        asked = sum(len(score.verdicts) for score in scores) / len(samples)
        print(
            f"{len(samples)} completions of {length:,} characters, {asked:.0f} questions each, "
            f"{name}: {sorted(times)[3]:.2f} ms of CPU time each (median of 7)"
        )


def main() -> None:
    """Run what the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("rows", type=Path, help="GSM8K, JSON lines")
    options.add_argument("--prompts", type=int, default=8)
    options.add_argument("--gsrm", type=float, default=2.0)
    options.add_argument("--judge", type=float, default=0.1)
    options.add_argument("--capacity", type=int, default=64)
    options.add_argument("--url", default="")
    options.add_argument("--model", default="")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--cpu", action="store_true")
    args = options.parse_args()
    samples = completions(args.rows, args.prompts, args.seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = args.url or f"http://127.0.0.1:{port}/v1"
    common: dict[str, Any] = {"gsrm_base_url": url, "judge_base_url": url, "startup_patience": 60}
    if args.url:
        settings = Settings(
            gsrm_model=args.model,
            judge_model=args.model,
            gsrm_prompt="construct",
            gsrm_regex=True,
            gsrm_max_tokens=512,
            **common,
        )
        compare(settings, samples, args)
        return
    settings = Settings(gsrm_model="gsrm", judge_model="judge", concurrency=args.capacity, **common)
    latency = {"gsrm": args.gsrm, "judge": args.judge}
    if args.cpu:
        latency = {"gsrm": 0.0, "judge": 0.0}
    server = multiprocessing.get_context("spawn").Process(
        target=run_scripted,
        args=(port, latency, args.capacity),
        kwargs={"distinct": True},
        daemon=True,
    )
    server.start()
    try:
        if args.cpu:
            cpu(settings, args.prompts)
        else:
            compare(settings, samples, args)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
