"""The long jobs over many rows: killed again and again, at speed, and resumed.

    python -m benchmarks.long_jobs kills [--rows 2000] [--kills 10]
    python -m benchmarks.long_jobs speed [--rows 20000] [--latency 0.5] [--concurrency 64]
    python -m benchmarks.long_jobs resume [--rows 114000]

`counting_server.py` runs in a process of its own. `kills`: `rlkd construct` is ended by SIGKILL at
random moments and started again; its file has to hold the rows of an unbroken run, and the server
counts duplicate requests. `speed`: rows a second of `rlkd structure`, one request a row, and of a
bare aiohttp client that sends the same requests, in turn. `resume`: `rlkd structure` over a result
that has all rows but a hundred: memory above the imports, and seconds to the first request.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp

from benchmarks.counting_server import serve, take_requests
from rlkd_plugin.gsrm.prompts import decompose_prompt
from rlkd_plugin.llm_io.ports import free_port
from tools.stand_ins.hub_shapes import STRUCTURE
from tools.stand_ins.places import ROOT

IMPORTS_PEAK = """
import re, rlkd_plugin.rlkd_cli, rlkd_plugin.rlkd_data.teacher_structures
import rlkd_plugin.swift_hooks.engine_choice, rlkd_plugin.rlkd_cli.tables.job_tables
import rlkd_plugin.rlkd_data.jobs.progress
print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
"""


def row(number: int) -> dict[str, str]:
    """Return a row for either job."""
    path = f"Row {number}: she has 2 + 3 = 5 pens. " * 8
    return {"problem": f"Problem {number}", "domain": "math", "reasoning_path": path.strip()}


def start_job(
    name: str, source: Path, out: Path, port: int, concurrency: int
) -> subprocess.Popen[str]:
    """Start `rlkd NAME`."""
    url = f"http://127.0.0.1:{port}/v1"
    roles = ("GENERATOR", "VERIFIER", "GSRM", "JUDGE")
    env = {f"RLKD_{role}_BASE_URL": url for role in roles}
    env |= {f"RLKD_{role}_MODEL": role.lower() for role in roles}
    env |= {"RLKD_CONCURRENCY": str(concurrency), "RLKD_CACHE_DIR": str(out.parent / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", name, str(source), str(out)],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kills(options: argparse.Namespace, folder: Path, port: int) -> None:
    """Kill `rlkd construct` at random moments."""
    source, killed = folder / "rows.jsonl", folder / "killed.jsonl"
    source.write_text("".join(json.dumps(row(n)) + "\n" for n in range(options.rows)))
    begin = time.monotonic()
    whole = start_job("construct", source, folder / "whole.jsonl", port, options.concurrency)
    print(whole.communicate()[0].splitlines()[-1])
    seconds = time.monotonic() - begin
    take_requests(port)
    dice = random.Random(0)
    for _ in range(options.kills):
        running = start_job("construct", source, killed, port, options.concurrency)
        time.sleep(1.0 + dice.random() * seconds / options.kills)
        running.send_signal(signal.SIGKILL)
        running.wait()
    last = start_job("construct", source, killed, port, options.concurrency)
    last.communicate()
    lines = killed.read_text().splitlines()
    equal = set(lines) == set((folder / "whole.jsonl").read_text().splitlines())
    problems = [one.problem for one in take_requests(port) if one.model == "generator"]
    duplicates = sum(n - 1 for n in Counter(problems).values())
    print(
        f"{options.rows} rows, {options.kills} kills: {len(lines)} lines, the same set: {equal}; "
        f"{duplicates} duplicate generations, at most {options.kills * options.concurrency} were "
        "in flight"
    )


async def send_bare(port: int, rows: int, concurrency: int) -> float:
    """Send the requests of `rlkd structure` with nothing around them; return rows a second."""
    numbers = iter(range(rows))
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for number in numbers:
                text = row(number)
                prompt = decompose_prompt("gsrm", "math", text["problem"], text["reasoning_path"])
                body = {"model": "gsrm", "messages": [{"role": "user", "content": prompt}]}
                async with session.post(url, json=body) as reply:
                    await reply.read()

        begin = time.monotonic()
        workers = [worker() for _ in range(concurrency)]
        await asyncio.gather(*workers)
        return rows / (time.monotonic() - begin)


def write_grpo(file: Path, rows: int, structure: str | None) -> None:
    """Write rows for `rlkd structure`, or its result."""
    with file.open("w") as out:
        for number in range(rows):
            text = row(number)
            grpo_row = {
                "messages": [{"role": "user", "content": text["problem"]}],
                "solution": "\\boxed{5}",
                "problem": text["problem"],
                "domain": "math",
                "teacher_reasoning": text["reasoning_path"],
                "teacher_structure": structure,
            }
            out.write(json.dumps(grpo_row) + "\n")


def row_times(port: int) -> list[float]:
    """Return the times of the requests about rows since the last call."""
    requests = take_requests(port)
    return sorted(one.time for one in requests if one.problem.startswith("Problem"))


def speed(options: argparse.Namespace, folder: Path, port: int) -> None:
    """Compare with a bare client."""
    source = folder / "rows.jsonl"
    write_grpo(source, options.rows, None)
    take_requests(port)
    plain = asyncio.run(send_bare(port, options.rows, options.concurrency))
    take_requests(port)
    running = start_job("structure", source, folder / "out.jsonl", port, options.concurrency)
    print(running.communicate()[0].splitlines()[-2])
    times = row_times(port)
    ours = options.rows / (times[-1] - times[0] + options.latency)
    print(f"bare {plain:.1f} rows/s, rlkd structure {ours:.1f} rows/s: x {ours / plain:.3f}")


def resume(options: argparse.Namespace, folder: Path, port: int) -> None:
    """Resume a result that has nearly all rows."""
    source, out = folder / "rows.jsonl", folder / "out.jsonl"
    write_grpo(source, 1, None)
    start_job("structure", source, out, port, 1).communicate()  # it writes the record
    write_grpo(source, options.rows, None)
    write_grpo(out, options.rows - 100, STRUCTURE)
    imports = subprocess.run(
        [sys.executable, "-c", IMPORTS_PEAK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    take_requests(port)
    begin = time.time()
    running = start_job("structure", source, out, port, options.concurrency)
    peak = 0
    while running.poll() is None:
        status = Path(f"/proc/{running.pid}/status").read_text("utf-8")
        if "VmHWM:" in status:
            peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.05)
    times = row_times(port)
    print(running.communicate()[0].splitlines()[-2])
    print(
        f"{options.rows} rows, 100 of them to do: {(peak - int(imports.stdout)) / 1024:+.0f} MB "
        f"above the imports, first request after {times[0] - begin:.1f} s, {len(times)} requests"
    )


ROWS = {"kills": 2_000, "speed": 20_000, "resume": 114_000}


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=ROWS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    options.rows = options.rows or ROWS[options.what]
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(port, options.latency), daemon=True
    )
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        measure = {"kills": kills, "speed": speed, "resume": resume}[options.what]
        measure(options, Path(folder), port)
    server.terminate()


if __name__ == "__main__":
    main()
