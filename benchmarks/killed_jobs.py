"""Data jobs that are stopped repeatedly in every way, compared with undisturbed jobs.

    python -m benchmarks.killed_jobs [--stops 10] [--jobs prepare construct structure subset]

Each job is ended at random moments by SIGKILL, SIGTERM and SIGINT, `rlkd prepare` also has a worker
process killed. The same command is given after each, at last to its end. A line says whether the
result holds the same lines (of `prepare` and `subset` the same bytes), whether every account that
was printed balances, which exit codes there were, and whether a traceback was printed. The servers
are `counting_server.py`.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.counting_server import serve, take_requests
from rlkd_plugin.llm_io.ports import free_port
from tools.stand_ins.places import ROOT

LATENCY = 0.05
SHORTEST, LONGEST = 0.5, 3.0
"""Seconds from the start of a job until it is stopped; earlier it is Python that starts."""
NOISE = ("Traceback", "Exception ignored", "was never retrieved", "was destroyed but")
ACCOUNT = re.compile(r"^([\d,]+) rows? read = (.+)$", re.MULTILINE)
WAYS = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "a worker": None,
}


@dataclass(frozen=True)
class Job:
    """A command, and whether the order of its lines is fixed."""

    name: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    ordered: bool = False
    endings: Sequence[str] = ("",)


JOBS = (
    Job("prepare", ["jsonl"], ["--workers", "2"], ordered=True),
    Job("construct", endings=("", ".discarded.jsonl")),
    Job("structure", endings=("", ".dropped.jsonl")),
    Job("subset", ordered=True),
)


@dataclass
class Seen:
    """The observations of a job's runs."""

    codes: Counter[int] = field(default_factory=Counter)
    noise: Counter[str] = field(default_factory=Counter)
    accounts: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, code: int, said: str) -> None:
        """Record the exit and the output of a run."""
        self.codes[code] += 1
        self.noise.update(word for word in NOISE if word in said)
        for account in ACCOUNT.finditer(said):
            self.accounts += 1
            parts = [int(text.replace(",", "")) for text in re.findall(r"[\d,]*\d", account[2])]
            if sum(parts) != int(account[1].replace(",", "")):
                self.wrong.append(account[0])


def write_source(file: Path, rows: int) -> None:
    """Write rows for all jobs, some of them twice, some with a fault."""
    with file.open("w") as out:
        for number in range(rows):
            path = f"Row {number}: she has 2 + 3 = 5 pens. " * 8
            row = {
                "problem": f"Problem {number}",
                "domain": "math",
                "reasoning_path": path,
                "teacher_reasoning": "..." if number % 40 == 7 else path,
                "answer": f"\\frac{{{number}}}{{7}}",
            }
            if number % 50 == 11:
                del row["problem"]
            out.write(json.dumps(row) + "\n")
            if number % 60 == 13:
                out.write(json.dumps(row) + "\n")


def start(job: Job, folder: Path, out: Path, port: int) -> subprocess.Popen[str]:
    """Start a job on its source."""
    url = f"http://127.0.0.1:{port}/v1"
    roles = ("GENERATOR", "VERIFIER", "GSRM", "EMBED")
    env = {f"RLKD_{role}_BASE_URL": url for role in roles}
    env |= {f"RLKD_{role}_MODEL": role.lower() for role in roles}
    env |= {"RLKD_CONCURRENCY": "4", "RLKD_CACHE_DIR": str(out.with_suffix(".cache"))}
    source = str(folder / f"{job.name}.jsonl")
    tests = [str(folder / "tests.jsonl")] if job.name == "subset" else []
    count = ["--count", "50"] if job.name == "subset" else []
    command = ["-m", "rlkd_plugin.rlkd_cli", job.name, *job.before, source, *tests, str(out)]
    return subprocess.Popen(
        [sys.executable, *command, *job.after, *count],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def stop(running: subprocess.Popen[str], way: str, dice: random.Random) -> None:
    """End a job, or one of its workers, if it is still there."""
    number = WAYS[way]
    if running.poll() is not None:
        return
    if number is not None:
        running.send_signal(number)
        return
    children = psutil.Process(running.pid).children(recursive=True)
    if workers := [child for child in children if child.ppid() != running.pid]:
        dice.choice(workers).kill()


def content(job: Job, out: Path) -> list[list[str]]:
    """Return the lines of a job's files, sorted where their order is not fixed."""
    files = [out.with_name(out.name + ending) for ending in job.endings]
    found = [file.read_text("utf-8").splitlines() if file.exists() else [] for file in files]
    return found if job.ordered else [sorted(lines) for lines in found]


def measure(job: Job, way: str, folder: Path, port: int, stops: int) -> None:
    """Stop a job in one way, and print the outcome."""
    dice = random.Random(f"{job.name} {way}")
    whole = content(job, folder / f"{job.name}.whole.jsonl")
    out = folder / f"{job.name}.{way.replace(' ', '_')}.jsonl"
    seen = Seen()
    for _ in range(stops):
        running = start(job, folder, out, port)
        time.sleep(dice.uniform(SHORTEST, LONGEST))
        stop(running, way, dice)
        said = running.communicate(timeout=120)[0]
        seen.add(running.returncode, said)
    running = start(job, folder, out, port)
    seen.add(0, said := running.communicate(timeout=120)[0])
    same = content(job, out) == whole and running.returncode == 0
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(seen.codes.items()))
    print(
        f"{job.name:9} {way:8} {stops} stops: "
        f"{'the same ' + ('bytes' if job.ordered else 'lines') if same else 'ANOTHER RESULT'}, "
        f"{sum(map(len, whole))} lines; {seen.accounts} accounts, {len(seen.wrong)} do not balance"
        f"{seen.wrong or ''}; exit codes {codes}; noise: {dict(seen.noise) or 'none'}",
        flush=True,
    )
    if not same:
        print(said)


def main() -> None:
    """Run every job alone, then stop each in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--jobs", nargs="+", default=[job.name for job in JOBS])
    options = parser.parse_args()
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(port, LATENCY), daemon=True
    )
    server.start()
    take_requests(port)
    rows = {"prepare": 6000, "construct": 400, "structure": 800, "subset": 6000}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tests.jsonl").write_text(json.dumps({"problem": "What is left?"}) + "\n")
        for job in JOBS:
            if job.name not in options.jobs:
                continue
            write_source(folder / f"{job.name}.jsonl", rows[job.name])
            begin = time.monotonic()
            alone = start(job, folder, folder / f"{job.name}.whole.jsonl", port)
            said = alone.communicate()[0]
            print(f"{job.name:9} alone: {time.monotonic() - begin:.1f} s; {ACCOUNT.search(said)}")
            for way in WAYS:
                if way != "a worker" or job.name == "prepare":
                    measure(job, way, folder, port, options.stops)
    server.terminate()


if __name__ == "__main__":
    main()
