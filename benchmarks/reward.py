"""The reward's time and requests, beside those of the authors' schedule, on the same server.

    python -m benchmarks.reward gsm8k_train.jsonl        # scripted: GSRM 2 s, judge 0.1 s
    python -m benchmarks.reward gsm8k_train.jsonl --judge 0.02 --capacity 256
    python -m benchmarks.reward gsm8k_train.jsonl --url http://127.0.0.1:8001/v1 --model NAME
    python -m benchmarks.reward gsm8k_train.jsonl --cpu  # our own CPU time a completion

Problems of GSM8K with four completions each (`gsm8k_students.py`). The scripted server runs in a
process of its own (`scripted_server.py`). Its GSRM takes `--gsrm` seconds for a structure of the
students' mean length: a tenth of them before the first token, the rest at an even rate; a longer
structure takes longer. A real server is both GSRM (`construct` prompt, regex constraint) and judge,
and its prefix cache's hit rate is read from /metrics. Ours runs on structures that are streamed, as
is the default, and on whole ones, with a warm teacher cache, as in every step but the first of an
epoch; the reference decomposes the teacher of every completion, so it has none. Rewards have to be
equal. The tokens of a closed request are counted by its characters.

The bound is max(slowest completion, total work / capacity). A completion takes the GSRM's time
until the last field that the reward needs is written (a whole structure: until its end), and a
verdict takes the judge's, after the fields that it compares and the meta-reasoning before it.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gsm8k_students import make_completions
from benchmarks.reward_cpu import measure_cpu
from benchmarks.reward_engines import InstructionLast, LoggedEngine
from benchmarks.reward_schedules import Measurement, Schedules, measure
from benchmarks.scripted_answers import count_tokens, decompose, distinct_answer, marked
from benchmarks.scripted_server import Script
from benchmarks.scripted_server import run as run_server
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.gsrm import FIELDS, render_structure
from rlkd_plugin.gsrm.tags import FINAL_ANSWER, tag
from rlkd_plugin.gsrm.texts import reasoning_path
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.settings import Settings

HEAD = """\
| schedule | seconds | GSRM requests | of them closed | judge requests | prompt tokens | generated \
| depth | prefix cache |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
PREFILL = 0.1
"""The share of the GSRM's time that comes before the first token."""


def compare(settings: Settings, samples: list[Sample], is_real: bool) -> list[Measurement]:
    """Measure ours, streamed and whole, and both references; print the table, and return them."""
    schedules = Schedules(settings, samples)
    url = settings.gsrm_base_url[0] if is_real else ""
    found = [
        measure("ours, streamed", lambda: schedules.ours(LoggedEngine(settings)), url),
        measure("ours, whole", schedules.whole, url),
    ]
    pool, threads = "reference, ThreadPoolExecutor()", "reference, a thread a completion"
    found.append(measure(pool, lambda: schedules.reference(None), url))
    found.append(measure(threads, lambda: schedules.reference(len(samples)), url))
    last = "ours, streamed, prompts with the instruction last"
    shown = list(found)
    if is_real:
        shown.append(measure(last, lambda: schedules.ours(InstructionLast(settings)), url))
    print(HEAD)
    for one in shown:
        print(one.row())
    return found


def print_ratios(first: Measurement, others: Sequence[Measurement]) -> None:
    """Print each other schedule's time and requests beside one of ours, and the equal rewards."""
    ours = first.outcome
    for one in others:
        other = one.outcome
        gsrm, judge = (ours.logs[r].requests / other.logs[r].requests for r in ours.logs)
        equal = sum(a == b for a, b in zip(ours.rewards, other.rewards, strict=True))
        print(
            f"{one.name}: {one.seconds / first.seconds:.2f} x the time of {first.name!r}, which "
            f"sends {gsrm:.2f} of its GSRM and {judge:.2f} of its judge requests; {equal} of "
            f"{len(ours.rewards)} rewards equal"
        )


def print_bound(ours: Measurement, scores: Sequence[Score], script: Script, streams: bool) -> None:
    """Print the shortest time that the server allows, and our time as its multiple.

    Args:
        ours: what is compared with it.
        scores: of whole structures.
        script: the server's.
        streams: whether structures may be read while they are written.
    """
    least = [least_seconds(score, script, streams) for score in scores]
    slowest = max(seconds for seconds, _ in least)
    asked = {
        (question.field, question.teacher, question.student)
        for score in scores
        for question, verdict in score.verdicts
        if verdict.source != "rule"
    }
    work = sum(written for _, written in least) + script.judge * len(asked)
    bound = max(slowest, work / script.capacity)
    print(
        f"{ours.name}: bound {bound:.2f} s (slowest completion {slowest:.2f} s, work {work:.0f} s "
        f"/ {script.capacity}); it takes {ours.seconds / bound:.2f} x the bound"
    )


def least_seconds(score: Score, script: Script, streams: bool) -> tuple[float, float]:
    """Return the seconds that a completion takes at least, and those of the GSRM among them."""
    student, teacher = score.student.structure, score.teacher.structure
    if student is None or teacher is None or score.reward is None:
        raise SystemExit(f"a side without a structure has no bound: {score}")
    text = render_structure(student)

    def written(fields: int) -> float:
        tokens = tokens_until(text, fields) if streams else count_tokens(text)
        return script.gsrm + tokens / script.tokens_per_second

    fields, matched, end = 0, 0.0, 0.0  # matched: when the last meta-reasoning was
    for question, verdict in score.verdicts:  # in the order of Algorithm 1
        fields = len(FIELDS) * (question.number - 1) + FIELDS.index(question.field) + 1
        seconds = 0.0 if verdict.source == "rule" else script.judge
        answered = max(written(fields), matched) + seconds
        if question.field == "meta_reasoning":
            matched = answered
        end = max(end, answered)
    is_at_end = score.reward.depth == len(student.steps) < len(teacher.steps)
    needed = len(student.fields) + 1 if is_at_end else max(fields, len(FIELDS))
    return max(end, written(needed)), written(needed)


def tokens_until(text: str, fields: int) -> int:
    """Return the tokens of a structure after which so many fields, or all, are complete."""
    steps, field = divmod(fields, len(FIELDS))
    for mark in (tag(FIELDS[field], steps + 1), FINAL_ANSWER):
        if (at := text.find(mark)) >= 0:
            return count_tokens(text[: at + len(mark)])
    return count_tokens(text)


def make_script(samples: Sequence[Sample], options: argparse.Namespace) -> Script:
    """Return the scripted server's speeds, for the mean length of the students' structures."""
    paths = [reasoning_path(sample.completion) for sample in samples]
    structures = [(decompose(path), path) for path in paths]
    tokens = [count_tokens(render_structure(marked(s, path))) for s, path in structures if s]
    mean = sum(tokens) / len(tokens)
    rate = mean / ((1 - PREFILL) * options.gsrm)
    print(
        f"structures of {min(tokens)} to {max(tokens)} tokens, mean {mean:.0f}: "
        f"{PREFILL * options.gsrm:g} s, then {rate:.0f} tokens a second"
    )
    return Script(
        gsrm=PREFILL * options.gsrm,
        judge=options.judge,
        capacity=options.capacity,
        tokens_per_second=rate,
        answer=distinct_answer,
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
        streamed, whole, *references = compare(settings, samples, is_real=True)
        print_ratios(streamed, [whole, *references])
        print_ratios(whole, references)
        return
    script = make_script(samples, options)

    def act(settings: Settings) -> None:
        streamed, whole, *references = compare(settings, samples, is_real=False)
        print_ratios(streamed, [whole, *references])
        print_ratios(whole, references)
        print_bound(streamed, whole.outcome.scores, script, streams=True)
        print_bound(whole, whole.outcome.scores, script, streams=False)

    run_scripted(script, act)


if __name__ == "__main__":
    main()
