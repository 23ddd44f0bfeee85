"""The reward's time and requests, beside those of the authors' schedule, on the same server.

    python -m benchmarks.reward gsm8k_train.jsonl        # scripted: GSRM 2 s, judge 0.1 s
    python -m benchmarks.reward gsm8k_train.jsonl --judge 0.02 --capacity 256
    python -m benchmarks.reward gsm8k_train.jsonl --url http://127.0.0.1:8001/v1 --model NAME
    python -m benchmarks.reward gsm8k_train.jsonl --cpu  # our own CPU time a completion

Problems of GSM8K with four completions each (`gsm8k_students.py`). The scripted server runs in a
process of its own (`scripted_server.py`); a real one is both GSRM (`construct` prompt, regex
constraint) and judge, and its prefix cache's hit rate is read from /metrics. Ours runs with a warm
teacher cache, as in every step but the first of an epoch; the reference decomposes the teacher of
every completion, so it has none. The bound is max(GSRM latency + judge latency x longest chain of
meta-reasonings, total work / capacity). Rewards have to be equal.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gsm8k_students import make_completions
from benchmarks.reward_cpu import measure_cpu
from benchmarks.reward_engines import InstructionLast, LoggedEngine
from benchmarks.reward_schedules import Measurement, Schedules, measure
from benchmarks.scripted_answers import distinct_answer
from benchmarks.scripted_server import Script
from benchmarks.scripted_server import run as run_server
from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.swift_commands import free_port

HEAD = """\
| schedule | seconds | GSRM requests | judge requests | prompt tokens | generated | depth \
| prefix cache |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def compare(settings: Settings, samples: list[Sample], is_real: bool) -> list[Measurement]:
    """Measure ours and both references, print the table, and return the measurements."""
    schedules = Schedules(settings, samples)
    url = settings.gsrm_base_url[0] if is_real else ""
    found = [measure("ours", lambda: schedules.ours(LoggedEngine(settings)), url)]
    if is_real:
        last = "ours, prompts with the instruction last"
        found.append(measure(last, lambda: schedules.ours(InstructionLast(settings)), url))
    pool, threads = "reference, ThreadPoolExecutor()", "reference, a thread a completion"
    found.append(measure(pool, lambda: schedules.reference(None), url))
    found.append(measure(threads, lambda: schedules.reference(len(samples)), url))
    print(HEAD)
    for one in found:
        print(one.row())
    return found


def print_ratios(first: Measurement, references: Sequence[Measurement]) -> None:
    """Print each reference's time and requests beside ours, and how many rewards are equal."""
    ours = first.outcome
    for one in references:
        other = one.outcome
        gsrm, judge = (ours.logs[r].requests / other.logs[r].requests for r in ours.logs)
        equal = sum(a == b for a, b in zip(ours.rewards, other.rewards, strict=True))
        print(
            f"{one.name}: {one.seconds / first.seconds:.1f} x our time; we send {gsrm:.2f} of "
            f"its GSRM and {judge:.2f} of its judge requests; {equal} of {len(ours.rewards)} "
            "rewards equal"
        )


def print_bound(ours: Measurement, script: Script) -> None:
    """Print the shortest time that the server allows, and our time as its multiple."""
    chain = max(
        sum(question.field == "meta_reasoning" for question, _ in one.verdicts)
        for one in ours.outcome.scores
    )
    logs = ours.outcome.logs
    work = logs["GSRM"].requests * script.gsrm + logs["judge"].requests * script.judge
    bound = max(script.gsrm + script.judge * chain, work / script.capacity)
    print(
        f"bound {bound:.2f} s (chain of {chain}, work {work:.0f} s / {script.capacity}): ours is "
        f"{ours.seconds / bound:.2f} x the bound"
    )


def run_scripted(script: Script, act: Callable[[Settings], None]) -> None:
    """Call a measurement with the settings of a scripted server, which runs beside it."""
    port = free_port()
    url = (f"http://127.0.0.1:{port}/v1",)
    settings = Settings(
        gsrm_base_url=url,
        gsrm_model="gsrm",
        judge_base_url=url,
        judge_model="judge",
        startup_patience=60,
        concurrency=script.capacity,
    )
    server = multiprocessing.get_context("spawn").Process(
        target=run_server, args=(port, script), daemon=True
    )
    server.start()
    try:
        act(settings)
    finally:
        server.terminate()


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, help="GSM8K, JSON lines")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--gsrm", type=float, default=2.0)
    parser.add_argument("--judge", type=float, default=0.1)
    parser.add_argument("--capacity", type=int, default=64)
    parser.add_argument("--url", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    if options.cpu:
        script = Script(capacity=options.capacity, answer=distinct_answer)
        run_scripted(script, lambda settings: measure_cpu(settings, options.prompts))
        return
    samples = make_completions(options.rows, options.prompts, options.seed)
    if options.url:
        url = (options.url,)
        settings = Settings(
            gsrm_base_url=url,
            gsrm_model=options.model,
            gsrm_prompt="construct",
            gsrm_regex=True,
            gsrm_max_tokens=512,
            judge_base_url=url,
            judge_model=options.model,
            startup_patience=60,
        )
        ours, _, *references = compare(settings, samples, is_real=True)
        print_ratios(ours, references)
        return
    script = Script(options.gsrm, options.judge, options.capacity, answer=distinct_answer)

    def act(settings: Settings) -> None:
        ours, *references = compare(settings, samples, is_real=False)
        print_ratios(ours, references)
        print_bound(ours, script)

    run_scripted(script, act)


if __name__ == "__main__":
    main()
