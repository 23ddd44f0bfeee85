"""The time and the memory of `rlkd report` over large traces.

    python -m benchmarks.report_size [--megabytes 200] [--steps 1000]

It writes a run's log and a trace of the given size: structures of 3 to 12 steps, walks that end
anywhere. Another process writes the report; its time and peak memory are measured.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from rlkd_plugin.engines.trace import Side, TraceRow, VerdictRow, append_rows
from rlkd_plugin.gsrm import FIELDS
from tools.stand_ins.places import ROOT

WORDS = "sum of both sides divides the area by its length so that what is left has a root".split()
LIMIT_SECONDS, LIMIT_MEGABYTES = 60, 1024


def text(draw: random.Random, words: int) -> str:
    """Return so many random words."""
    return " ".join(draw.choices(WORDS, k=words))


def side(draw: random.Random) -> Side:
    """Return a teacher's or student's structure."""
    steps = [
        (text(draw, 12), f"{text(draw, 10)}?", str(draw.randrange(1000)))
        for _ in range(draw.randint(3, 12))
    ]
    return Side(steps=tuple(steps), final_answer=steps[-1][2])


def completion(draw: random.Random) -> TraceRow:
    """Return a row of a trace; its walk matches some steps and then ends."""
    teacher, student = side(draw), side(draw)
    common = min(len(teacher.steps), len(student.steps))
    reached = draw.randint(0, common)
    verdicts = [
        VerdictRow(number, field, True, 0.93, "logprob")
        for number in range(1, reached + 1)
        for field in FIELDS
    ]
    scores = [1.0] * reached
    if reached < common:
        verdicts.append(VerdictRow(reached + 1, "meta_reasoning", False, 0.93, "logprob"))
        scores.append(0.0)
    return TraceRow(
        prompt_id="prompt",
        request_id="r",
        teacher=teacher,
        student=student,
        verdicts=tuple(verdicts),
        step_scores=tuple(scores),
        total=float(reached),
        reward=float(reached),
    )


def write_run(folder: Path, megabytes: int, steps: int) -> int:
    """Write log and trace; return the number of the trace's lines."""
    draw = random.Random(0)
    with (folder / "logging.jsonl").open("w") as log:
        for step in range(1, steps + 1):
            about = {"reward": draw.random(), "global_step/max_steps": f"{step}/{steps}"}
            log.write(json.dumps(about) + "\n")
    # some hundred different rows are enough: they are parsed one by one all the same
    kinds = [completion(draw) for _ in range(500)]
    trace = folder / "rlkd_trace_rank0.jsonl"
    trace.touch()
    lines = 0
    while (size := trace.stat().st_size) < megabytes << 20:
        step = int(steps * size / (megabytes << 20))
        rows = [msgspec.structs.replace(draw.choice(kinds), step=step) for _ in range(16)]
        append_rows(trace, rows)
        lines += len(rows)
    return lines


def report(folder: Path) -> tuple[float, float, str]:
    """Run the command; return its seconds, its peak memory in MiB, and its output."""
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "report", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the report failed: {output}")
    return time.monotonic() - started, usage.ru_maxrss / 1024, output


def main() -> None:
    """Write a run, report it, and hold the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = write_run(folder, options.megabytes, options.steps)
        seconds, megabytes, output = report(folder)
        size = (folder / "report.html").stat().st_size / 2**20
    print(output, end="")
    print(
        f"{options.megabytes} MiB of traces, {lines:,} completions: {seconds:.1f} s, "
        f"{megabytes:.0f} MiB at most; a page of {size:.1f} MiB"
    )
    if seconds > LIMIT_SECONDS or megabytes > LIMIT_MEGABYTES:
        raise SystemExit(f"more than {LIMIT_SECONDS} s or {LIMIT_MEGABYTES} MiB")


if __name__ == "__main__":
    main()
