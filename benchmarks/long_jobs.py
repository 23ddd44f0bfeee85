"""What the long jobs do over many rows: killed again and again, at speed, and resumed.

    python benchmarks/long_jobs.py kills [--rows 2000] [--kills 10]
    python benchmarks/long_jobs.py speed [--rows 20000] [--latency 0.5] [--concurrency 64]
    python benchmarks/long_jobs.py resume [--rows 114000]

A scripted server of chat completions runs in a process of its own. `kills`: `rlkd construct` is
ended by SIGKILL at random moments and started again; its files have to be those of a run that was
not, and the server counts what was asked twice. `speed`: rows a second of `rlkd structure`, one
request a row, and of a bare aiohttp client that sends the same requests, in turn. `resume`: `rlkd
structure` over a result that has all rows but a hundred: memory above the imports, and seconds to
the first request.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from rlkd_plugin.gsrm.prompts import decompose_prompt

ROOT = Path(__file__).resolve().parents[1]
STRUCTURE = (
    "[Meta-reasoning 1]: Both parts are known, so they are put together.\n"
    "[Sub-problem 1]: What is 2 + 3?\n[Answer 1]: 5\n\nSo the final answer is: 5"
)


def serve(port: int, latency: float) -> None:
    """Answer every request after the latency; GET says what was asked, and forgets it."""
    asked: list[tuple[str, str, float]] = []

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        content = body["messages"][0]["content"]
        problem = content.rpartition("⟦problem⟧\n")[2].partition("\n")[0]
        asked.append((body["model"], problem, time.time()))
        await asyncio.sleep(latency)
        text = "PASS" if body["model"] == "verifier" else STRUCTURE
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {}})

    async def tell(request: web.Request) -> web.Response:
        said = list(asked)
        asked.clear()
        return web.json_response(said)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/asked", tell)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def row(number: int) -> dict[str, str]:
    """A row for either job."""
    path = f"Row {number}: she has 2 + 3 = 5 pens. " * 8
    return {"problem": f"Problem {number}", "domain": "math", "reasoning_path": path.strip()}


def job(name: str, source: Path, out: Path, port: int, concurrency: int) -> subprocess.Popen[str]:
    """Start a job."""
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


def asked(port: int) -> list[list[Any]]:
    """What the server was asked since the last time; waits for it to be up."""
    import urllib.request

    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/asked") as reply:
                return json.load(reply)
        except OSError:
            time.sleep(0.1)


def kills(args: argparse.Namespace, folder: Path, port: int) -> None:
    """Kill `rlkd construct` at random moments."""
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row(n)) + "\n" for n in range(args.rows)))
    begin = time.monotonic()
    whole = job("construct", source, folder / "whole.jsonl", port, args.concurrency)
    print(whole.communicate()[0].splitlines()[-1])
    seconds = time.monotonic() - begin
    asked(port)
    dice = random.Random(0)
    for _ in range(args.kills):
        running = job("construct", source, folder / "killed.jsonl", port, args.concurrency)
        time.sleep(1.0 + dice.random() * seconds / args.kills)
        running.send_signal(signal.SIGKILL)
        running.wait()
    last = job("construct", source, folder / "killed.jsonl", port, args.concurrency)
    last.communicate()
    lines = [
        set((folder / f"{name}.jsonl").read_text().splitlines()) for name in ("whole", "killed")
    ]
    count = len((folder / "killed.jsonl").read_text().splitlines())
    times = Counter(problem for model, problem, _ in asked(port) if model == "generator")
    again = sum(n - 1 for n in times.values())
    print(
        f"{args.rows} rows, {args.kills} kills: {count} lines, the same set: "
        f"{lines[0] == lines[1]}; {again} generations asked for again, at most "
        f"{args.kills * args.concurrency} were in flight"
    )


async def bare(port: int, rows: int, concurrency: int) -> float:
    """Send the requests of `rlkd structure` with nothing around them; return rows a second."""
    numbers = iter(range(rows))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for number in numbers:
                text = row(number)
                prompt = decompose_prompt("gsrm", "math", text["problem"], text["reasoning_path"])
                body = {"model": "gsrm", "messages": [{"role": "user", "content": prompt}]}
                url = f"http://127.0.0.1:{port}/v1/chat/completions"
                async with session.post(url, json=body) as reply:
                    await reply.read()

        begin = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return rows / (time.monotonic() - begin)


def write_grpo(file: Path, rows: int, done: bool = False) -> None:
    """Write rows for `rlkd structure`, or its result."""
    with file.open("w") as out:
        for number in range(rows):
            text = row(number)
            made = {
                "messages": [{"role": "user", "content": text["problem"]}],
                "solution": "\\boxed{5}",
                "problem": text["problem"],
                "domain": "math",
                "teacher_reasoning": text["reasoning_path"],
                "teacher_structure": STRUCTURE if done else None,
            }
            out.write(json.dumps(made) + "\n")


def speed(args: argparse.Namespace, folder: Path, port: int) -> None:
    """Compare with a bare client."""
    source = folder / "rows.jsonl"
    write_grpo(source, args.rows)
    asked(port)
    plain = asyncio.run(bare(port, args.rows, args.concurrency))
    asked(port)
    running = job("structure", source, folder / "out.jsonl", port, args.concurrency)
    print(running.communicate()[0].splitlines()[-2])
    times = sorted(when for model, problem, when in asked(port) if problem.startswith("Problem"))
    ours = args.rows / (times[-1] - times[0] + args.latency)
    print(f"bare {plain:.1f} rows/s, rlkd structure {ours:.1f} rows/s: x {ours / plain:.3f}")


def resume(args: argparse.Namespace, folder: Path, port: int) -> None:
    """Go on behind a result that has nearly all rows."""
    source, out = folder / "rows.jsonl", folder / "out.jsonl"
    write_grpo(source, args.rows)
    write_grpo(out, args.rows - 100, done=True)
    code = (
        "import re, rlkd_plugin.rlkd_cli, rlkd_plugin.rlkd_data.teacher_structures\n"
        "import rlkd_plugin.swift_hooks.engine_choice, rlkd_plugin.rlkd_cli.tables.job_tables\n"
        "import rlkd_plugin.rlkd_data.jobs.progress\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    imports = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    asked(port)
    begin = time.time()
    running = job("structure", source, out, port, args.concurrency)
    peak = 0
    while running.poll() is None:
        status = Path(f"/proc/{running.pid}/status").read_text("utf-8")
        if "VmHWM:" in status:
            peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.05)
    said = [when for _, problem, when in asked(port) if problem.startswith("Problem")]
    print(running.stdout.read().splitlines()[-2])
    print(
        f"{args.rows} rows, 100 of them to do: {(peak - int(imports.stdout)) / 1024:+.0f} MB above "
        f"the imports, first request after {min(said) - begin:.1f} s, {len(said)} requests"
    )


def main() -> None:
    """Run one of the three."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=("kills", "speed", "resume"))
    options.add_argument("--rows", type=int)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--latency", type=float)
    options.add_argument("--concurrency", type=int, default=64)
    args = options.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    args.rows = args.rows or {"kills": 2_000, "speed": 20_000, "resume": 114_000}[args.what]
    if args.latency is None:
        args.latency = 0.5
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(port, args.latency), daemon=True
    )
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        {"kills": kills, "speed": speed, "resume": resume}[args.what](args, Path(folder), port)
    server.terminate()


if __name__ == "__main__":
    main()
