"""The reward on streamed structures beside that on whole ones: seconds, tokens, requests, CPU time.

    python -m benchmarks.streamed_reward [--rounds 3]
    python -m benchmarks.streamed_reward --cpu --interval 1 8

8 problems with 4 completions each. Every structure has 8 steps of 120 tokens (meta-reasoning 60,
sub-problem 40, answer 20), the teachers' come in the column `teacher_structure`. The scripted
server's GSRM writes 100 tokens a second, its judge takes 0.1 s. A completion matches its teacher
for as many steps as was drawn, 1 to 3, and in a second table for all 8, where nothing can be saved.
Both ways run in turn on the same server, which takes the same time to write a structure either way;
tokens and closed requests are the server's own counts. With `--cpu` our own CPU time a streamed
token is measured, where nothing is saved, for some lengths of an event.
"""

import argparse
import json
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.reward import run_scripted
from benchmarks.scripted_answers import CHARS_PER_TOKEN, contents_of
from benchmarks.scripted_server import Script
from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.gsrm import FIELDS, Field, Step, Structure, render_structure
from rlkd_plugin.gsrm.tags import tag
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.batch import score

PROBLEMS, COMPLETIONS, STEPS = 8, 4, 8
DEPTHS = (1, 2, 3)
RATE, JUDGE_SECONDS = 100.0, 0.1
TOKENS: dict[Field, int] = {"meta_reasoning": 60, "sub_problem": 40, "answer": 20}
"""Tokens of each field, with its tag and line break."""
MATCHES: dict[Field, float] = {"sub_problem": 0.7, "answer": 0.5}
"""Shares of a matched step's other fields that match."""

HEAD = """\
| way | seconds | tokens written | GSRM requests closed | judge requests | of them closed | CPU ms \
a completion |
| --- | --- | --- | --- | --- | --- | --- |"""
CPU_HEAD = """\
| tokens an event | way | seconds | tokens written | CPU ms a completion | CPU us a token \
| above the whole way's |
| --- | --- | --- | --- | --- | --- | --- |"""
COUNTED = (("closed", "gsrm"), ("requests", "judge"), ("closed", "judge"))
"""The server's counts that a line of the first table shows."""

_PATH = re.compile(r"Completion (\d+) of problem (\d+) follows its teacher for (\d+) steps")
_MARK = re.compile(r"\(mark [\w ]+\)")


def structure(problem: int, completion: int | None = None, depth: int = STEPS) -> Structure:
    """Return a completion's structure, or the teacher's; fields that match carry one mark."""
    dice = random.Random(f"{problem} {completion}")
    who = "the teacher" if completion is None else f"completion {completion}"
    steps: list[Step] = []
    for number in range(1, STEPS + 1):
        texts: list[str] = []
        for field in FIELDS:
            drawn = dice.random() < MATCHES.get(field, 1.0)
            matches = completion is None or (number <= depth and drawn)
            mark = f"(mark {problem} {number} {field}{'' if matches else ' of its own'})"
            filler = f" {who} goes on with what the problem still leaves open," * 9
            breaks = 2 if field == FIELDS[-1] else 1  # behind the text
            length = CHARS_PER_TOKEN * TOKENS[field] - len(tag(field, number)) - 1 - breaks
            texts.append((mark + filler)[: length - 1].rstrip().ljust(length - 1, "-") + ".")
        steps.append(Step(*texts))
    return Structure(tuple(steps), "none")


def scripted(role: str, prompt: str) -> str:
    """Answer a request as it was drawn: the structure that the path names, or yes for one mark."""
    contents = contents_of(prompt)
    if role == "gsrm":
        if (named := _PATH.search(contents["reasoning path"])) is None:
            raise ValueError(f"no completion is named in {prompt!r}")
        completion, problem, depth = map(int, named.groups())
        return render_structure(structure(problem, completion, depth))
    marks = {tuple(_MARK.findall(text)) for text in contents.values()}
    return "yes" if len(marks) == 1 else "no"


def draw_samples(depths: Sequence[int], seed: int) -> list[Sample]:
    """Return the completions, and print how many steps of each were drawn to match."""
    dice = random.Random(seed)
    drawn = [dice.choice(depths) for _ in range(PROBLEMS * COMPLETIONS)]
    counts = ", ".join(f"{depth}: {count}" for depth, count in sorted(Counter(drawn).items()))
    print(f"\nmatched steps drawn (steps: completions): {counts}; mean {mean(drawn):.2f}\n")
    return make_samples(drawn)


def make_samples(matched: Sequence[int]) -> list[Sample]:
    """Return a completion for each number of matched steps."""
    samples: list[Sample] = []
    for number, depth in enumerate(matched):
        problem, completion = divmod(number, COMPLETIONS)
        path = f"Completion {completion} of problem {problem} follows its teacher for {depth} steps"
        teacher = render_structure(structure(problem))
        samples.append(Sample(f"<think>{path}.</think>", f"Problem {problem}", "math", "", teacher))
    return samples


@dataclass(frozen=True)
class Run:
    """One batch: seconds, CPU seconds of this process, the server's counts, and the rewards."""

    seconds: float
    cpu: float
    stats: dict[str, dict[str, int]]
    rewards: list[float]


def run_batch(settings: Settings, samples: list[Sample], *, streams: bool) -> Run:
    """Score the samples once."""
    engine = ServerEngine(settings.model_copy(update={"stream_structures": streams}))
    take_stats(settings)
    begin, cpu = time.monotonic(), time.process_time()
    scores = score(engine, samples)
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    time.sleep(0.3)  # until the server knows of the last request that was closed
    rewards = [one.reward.total if one.reward else -1.0 for one in scores]
    return Run(seconds, cpu, take_stats(settings), rewards)


def take_stats(settings: Settings) -> dict[str, Any]:
    """Return the server's counts since the last call."""
    url = settings.gsrm_base_url[0].removesuffix("/v1")
    with urllib.request.urlopen(f"{url}/stats?reset") as reply:
        return json.load(reply)


def compare(settings: Settings, samples: list[Sample], rounds: int) -> None:
    """Measure both ways in turn, and print their medians and ratios."""
    runs: dict[str, list[Run]] = {"streamed": [], "whole": []}
    for _ in range(rounds):
        for name, done in runs.items():
            done.append(run_batch(settings, samples, streams=name == "streamed"))
    print(HEAD)
    for name, done in runs.items():
        print(row(name, done))
    streamed, whole = runs.values()
    everyone = [one.rewards for one in (*streamed, *whole)]
    equal = sum(len(set(rewards)) == 1 for rewards in zip(*everyone, strict=True))
    print(
        f"\nstreamed / whole: {ratio(streamed, whole, 'seconds'):.3f} of the seconds, "
        f"{written(streamed) / written(whole):.3f} of the tokens, "
        f"{ratio(streamed, whole, 'cpu'):.2f} of the CPU time; {equal} of {len(samples)} rewards "
        f"equal in all {len(everyone)} runs (mean {mean(everyone[0]):.3f}, "
        f"{len(set(everyone[0]))} different)"
    )


def row(name: str, runs: Sequence[Run]) -> str:
    """Return a line of the table: medians, with the range of the seconds."""
    seconds = sorted(run.seconds for run in runs)
    cpu = median(run.cpu for run in runs) / (PROBLEMS * COMPLETIONS) * 1000
    counts = [count(runs, *key) for key in COUNTED]
    return (
        f"| {name} | {median(seconds):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f}) | "
        f"{written(runs):,.0f} | {' | '.join(f'{x:g}' for x in counts)} | {cpu:.1f} |"
    )


def count(runs: Sequence[Run], counter: str, role: str) -> float:
    """Return the median of one of the server's counts."""
    return median(run.stats[counter].get(role, 0) for run in runs)


def written(runs: Sequence[Run]) -> float:
    """Return the median of the tokens that the GSRM wrote."""
    return count(runs, "written", "gsrm")


def ratio(one: Sequence[Run], other: Sequence[Run], name: str) -> float:
    """Return the ratio of the medians of `seconds` or `cpu`."""
    return median(getattr(x, name) for x in one) / median(getattr(x, name) for x in other)


def mean(numbers: Sequence[float]) -> float:
    """Return the mean."""
    return sum(numbers) / len(numbers)


def measure_cpu(settings: Settings, samples: list[Sample], interval: int, rounds: int) -> None:
    """Print the CPU time of a streamed token."""
    runs: dict[str, list[Run]] = {"whole": [], "streamed": []}
    for _ in range(rounds):
        for way, done in runs.items():
            done.append(run_batch(settings, samples, streams=way == "streamed"))
    whole = median(run.cpu for run in runs["whole"])
    for way, done in runs.items():
        cpu, tokens = median(run.cpu for run in done), written(done)
        shown = f"{cpu / tokens * 1e6:.0f} | {(cpu - whole) / tokens * 1e6:.0f}"
        print(
            f"| {interval} | {way} | {median(run.seconds for run in done):.2f} | {tokens:,.0f} | "
            f"{cpu / len(samples) * 1000:.1f} | {'| ' if way == 'whole' else shown} |"
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--interval", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    if options.cpu:
        samples = draw_samples((STEPS,), options.seed)
        print(CPU_HEAD)
    for interval in options.interval:
        script = Script(
            judge=JUDGE_SECONDS,
            tokens_per_second=RATE,
            stream_interval=interval,
            answer=scripted,
        )

        def act(settings: Settings, interval: int = interval) -> None:
            score(ServerEngine(settings), make_samples([1]))  # until the server is up
            if options.cpu:
                measure_cpu(settings, samples, interval, options.rounds)
                return
            for depths in (DEPTHS, (STEPS,)):
                compare(settings, draw_samples(depths, options.seed), options.rounds)

        run_scripted(script, act)


if __name__ == "__main__":
    main()
