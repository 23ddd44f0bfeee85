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
from typing import Any

from tools.stand_ins.places import ROOT

WORDS = "sum of both sides divides the area by its length so that what is left has a root".split()
LIMIT_SECONDS, LIMIT_MEGABYTES = 60, 1024


def text(draw: random.Random, words: int) -> str:
    """Return so many random words."""
    return " ".join(draw.choices(WORDS, k=words))


def side(draw: random.Random) -> dict[str, Any]:
    """Return a teacher's or student's structure, as a trace has it."""
    steps = [
        [text(draw, 12), f"{text(draw, 10)}?", str(draw.randrange(1000))]
        for _ in range(draw.randint(3, 12))
    ]
    return {"status": "ok", "clipped": False, "steps": steps, "final_answer": steps[-1][2]}


def completion(draw: random.Random, step: int) -> dict[str, Any]:
    """Return a line of a trace; its walk matches some steps and then ends."""
    teacher, student = side(draw), side(draw)
    common = min(len(teacher["steps"]), len(student["steps"]))
    reached = draw.randint(0, common)
    asked = [
        (number, field)
        for number in range(1, reached + 1)
        for field in ("meta_reasoning", "sub_problem", "answer")
    ]
    verdicts = [(number, field, True) for number, field in asked]
    verdicts += [(reached + 1, "meta_reasoning", False)] if reached < common else []
    names = ("number", "field", "matched")
    about = {"probability": 0.93, "source": "logprob"}
    return {
        "version": 1,
        "step": step,
        "prompt_id": f"prompt_{step}",
        "request_id": "r",
        "cut_off": False,
        "teacher": teacher,
        "student": student,
        "verdicts": [dict(zip(names, verdict, strict=True)) | about for verdict in verdicts],
        "step_scores": [1.0] * reached + [0.0] * (reached < common),
        "total": float(reached),
        "reward": float(reached),
    }


def write_run(folder: Path, megabytes: int, steps: int) -> int:
    """Write log and trace; return the number of the trace's lines."""
    draw = random.Random(0)
    with (folder / "logging.jsonl").open("w") as log:
        for step in range(1, steps + 1):
            about = {"reward": draw.random(), "global_step/max_steps": f"{step}/{steps}"}
            log.write(json.dumps(about) + "\n")
    # some hundred different lines are enough: they are parsed one by one all the same
    kinds = [completion(draw, 0) for _ in range(500)]
    written = lines = 0
    with (folder / "rlkd_trace_rank0.jsonl").open("wb") as trace:
        while written < megabytes << 20:
            row = draw.choice(kinds) | {"step": int(steps * written / (megabytes << 20))}
            written += trace.write(json.dumps(row).encode() + b"\n")
            lines += 1
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
