"""`rlkd score` over many completions, beside a bare client that sends the same requests.

    python -m benchmarks.score_rows [--rows 20000] [--gsrm 0.5] [--judge 0.05] [--capacity 64]

Eight completions a problem, each with a structure of its own, so that no text equals another one.
The scripted server has a latency for each role and a capacity. The bare client takes the requests
from the job's own trace: a decomposition for each path, a question for each verdict that a model
gave, each once. It holds `--capacity` of them in flight, in no order, reads each reply and does
nothing with it. The two run in turn on the same server; seconds are without the start of Python,
CPU seconds are our own process's.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.reward import run_scripted
from benchmarks.scripted_answers import distinct_answer
from benchmarks.scripted_server import Script
from rlkd_plugin.engines.trace import Side, TraceRow, read_rows
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.gsrm.prompts import decompose_prompt, judge_prompt
from rlkd_plugin.gsrm.texts import reasoning_path
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
from rlkd_plugin.rlkd_eval.scores.offline_scorer import OfflineScorer
from rlkd_plugin.rlkd_eval.scores.recent_teachers import RecentTeachers
from rlkd_plugin.rlkd_eval.scores.score_job import IN_WORK, score_completions
from rlkd_plugin.rlkd_eval.scores.score_plan import plan_scores, trace_place
from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport
from rlkd_plugin.rlkd_eval.scores.shared_engine import SharedEngine

COMPLETIONS, STEPS = 8, 3
RIGHT = 0.7
"""Share of a student's additions that are right."""


def path_of(addends: Sequence[int], slips: Sequence[int]) -> str:
    """Return a path that adds numbers one after the other, each time off by a slip."""
    value, parts = addends[0], []
    for addend, slip in zip(addends[1:], slips, strict=True):
        found = value + addend + slip
        parts.append(f"Then we add {addend} more: {value} + {addend} = {found}.")
        value = found
    return " ".join(parts)


def row_of(number: int) -> dict[str, Any]:
    """Return a problem with its teacher and its completions."""
    draw = random.Random(number)
    addends = [draw.randrange(10, 99) for _ in range(STEPS + 1)]
    students = [
        path_of(addends, [draw.random() > RIGHT for _ in range(STEPS)]) for _ in range(COMPLETIONS)
    ]
    return {
        "problem": f"Problem {number}: what is the sum?",
        "teacher_reasoning": path_of(addends, [0] * STEPS),
        "completions": [f"<think>Try {n}. {text}</think>" for n, text in enumerate(students)],
    }


async def score(source: Path, out: Path, settings: Settings) -> ScoreReport:
    """Run the job."""
    chosen = ServerEngine(settings, reserves=False)
    engine = SharedEngine(chosen)
    cache = RecentTeachers(DiskCache(settings.cache_dir, chosen))
    scorer = OfflineScorer(engine, cache, settings, settings.gsrm_max_chars)
    job = DataJob(source, trace_place(out), IN_WORK * settings.concurrency)
    report = ScoreReport()
    async with engine:
        await score_completions(plan_scores(job, None, 1), scorer, report)
    return report


def requests_of(rows: Iterator[TraceRow], paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the bodies of a job's requests from its trace and the teachers' paths."""
    prompts: dict[tuple[str, str], None] = {}  # each once, in the order of the rows
    for row in rows:
        for path in (paths[row.problem], reasoning_path(row.completion)):
            prompts["gsrm", decompose_prompt("gsrm", "math", row.problem, path)] = None
        for verdict in row.verdicts:
            if verdict.source != "rule":
                place = len(FIELDS) * (verdict.number - 1) + FIELDS.index(verdict.field)
                texts = fields_of(row.teacher)[place], fields_of(row.student)[place]
                prompts["judge", judge_prompt(verdict.field, *texts)] = None
    return [
        {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0.0}
        for model, prompt in prompts
    ]


def fields_of(side: Side) -> list[str]:
    """Return the fields of a structure in reading order."""
    return [*(text for step in side.steps for text in step), *side.unfinished]


async def send_bare(url: str, bodies: Sequence[dict[str, Any]], in_flight: int) -> None:
    """Send requests with nothing around them."""
    rest = iter(bodies)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for body in rest:
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    await reply.read()

        await asyncio.gather(*(worker() for _ in range(in_flight)))


def count_requests(url: str) -> int:
    """Return the server's requests since the last call; waits until the server is up."""
    while True:
        try:
            with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats?reset") as reply:
                return sum(json.load(reply)["requests"].values())
        except OSError:
            time.sleep(0.1)


def measure(settings: Settings, rows: int, rounds: int) -> None:
    """Run both in turn, and print the rates."""
    url = settings.gsrm_base_url[0]
    count_requests(url)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        made = [row_of(number) for number in range(rows // COMPLETIONS)]
        source.write_text("".join(json.dumps(row) + "\n" for row in made))
        paths = {row["problem"]: row["teacher_reasoning"] for row in made}
        for number in range(rounds):
            ours = settings.model_copy(update={"cache_dir": folder / f"cache{number}"})
            out = folder / f"out{number}"
            begin, cpu = time.monotonic(), time.process_time()
            report = asyncio.run(score(source, out, ours))
            seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
            asked = count_requests(url)
            bodies = requests_of(read_rows(trace_place(out)), paths)
            begin, bare_cpu = time.monotonic(), time.process_time()
            asyncio.run(send_bare(url, bodies, settings.concurrency))
            bare, bare_cpu = time.monotonic() - begin, time.process_time() - bare_cpu
            print(
                f"{report.scored:,} completions: rlkd score {seconds:.1f} s ({cpu:.1f} CPU) with "
                f"{asked:,} requests, bare client {bare:.1f} s ({bare_cpu:.1f} CPU) with "
                f"{count_requests(url):,}: x {bare / seconds:.3f}, "
                f"{report.scored / seconds:.1f} completions/s",
                flush=True,
            )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--gsrm", type=float, default=0.5)
    parser.add_argument("--judge", type=float, default=0.05)
    parser.add_argument("--capacity", type=int, default=64)
    parser.add_argument("--whole", action="store_true", help="structures are not streamed")
    options = parser.parse_args()
    script = Script(
        gsrm=options.gsrm,
        judge=options.judge,
        capacity=options.capacity,
        answer=distinct_answer,
        stream_interval=1000,  # a reply is one event: only the schedule is compared
    )

    def act(settings: Settings) -> None:
        streams = settings.model_copy(update={"stream_structures": not options.whole})
        measure(streams, options.rows, options.rounds)

    run_scripted(script, act)


if __name__ == "__main__":
    main()
