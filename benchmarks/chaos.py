"""Real GRPO steps beside servers that fail in every transient way, and the same without faults.

    python -m benchmarks.chaos [--steps 50] [--faults 0.2]

The demo's problems and model, RLKD_ENGINE=server, against the scripted server: once without faults,
once with a share of faults of every kind (transient statuses, connections reset, replies cut off,
broken, empty or late, no structure or verdict at the first try, and streams that break off, end too
soon, bring an error or what is no event, stall, or count no tokens) and two outages of 30 s. In
both one text in 500 is rejected at every try. The GSRM writes slowly enough that many structures
are stopped when their reward is decided. Every reward, step score, verdict and teacher's structure
of the two traces has to be equal, and the students' as far as both runs read them.
"""

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import replace
from itertools import chain
from pathlib import Path

from benchmarks.scripted_server import Script
from benchmarks.scripted_server import run as run_server
from rlkd_plugin.engines.trace import Side, TraceRow, read_rows
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.swift_commands import swift_command

GRPO: dict[str, object] = {
    "rlhf_type": "grpo",
    "external_plugins": ROOT / "rlkd_plugin" / "register.py",
    "model": MODEL,
    "model_type": "llama",
    "template": "chatml",
    "check_model": False,
    "torch_dtype": cpu_dtype(),
    "use_cpu": True,
    "tuner_type": "lora",
    "dataset": "rlkd/demo",
    "callbacks": "rlkd_metrics",
    "reward_funcs": ["accuracy", "rlkd_gsrm"],
    "num_generations": 4,
    "temperature": 0.7,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 64,
    "beta": 0,
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "seed": 7,
    "report_to": "none",
    "learning_rate": 1e-4,
    "add_version": False,
}


def train(out: Path, cache: Path, steps: int, url: str) -> str:
    """Run `swift rlhf`; return its output."""
    settings = {
        "RLKD_GSRM_BASE_URL": url,
        "RLKD_JUDGE_BASE_URL": url,
        "RLKD_REQUEST_TIMEOUT": "5",
        "RLKD_GSRM_MODEL": "gsrm",
        "RLKD_JUDGE_MODEL": "judge",
        "RLKD_CACHE_DIR": str(cache),
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RLKD_")}
    options = {**GRPO, "max_steps": steps, "save_steps": steps, "output_dir": out}
    process = subprocess.run(
        swift_command("rlhf", options),
        cwd=ROOT,
        env={**clean, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}:\n{process.stdout[-4000:]}")
    return process.stdout


def measure(name: str, folder: Path, steps: int, script: Script) -> list[TraceRow]:
    """Train beside a server, print the counts, and return the trace's rows."""
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(
        target=run_server, args=(port, script), daemon=True
    )
    server.start()
    begin = time.monotonic()
    out = folder / name
    output = train(out, folder / f"{name}_cache", steps, f"http://127.0.0.1:{port}/v1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as reply:
        stats = json.load(reply)
    server.terminate()
    logs = [json.loads(line) for line in (out / "logging.jsonl").open()]
    rows = [row for row in logs if "rlkd/retries" in row]
    trace = list(read_rows(out / "rlkd_trace_rank0.jsonl"))
    print(
        f"{name}: {len(rows)} steps, {len(trace)} completions, {time.monotonic() - begin:.0f} s; "
        f"the log counts {sum(row['rlkd/requests'] for row in rows):.0f} requests and "
        f"{sum(row['rlkd/retries'] for row in rows):.0f} retries, the slowest reward took "
        f"{max(row['rlkd/seconds'] for row in rows):.0f} s"
    )
    print(f"  requests to the server: {stats['requests']}; faults: {stats['faults']}")
    print(f"  tokens written: {stats['written']}; closed by the client: {stats['closed']}")
    print(f"  structures stopped early: {sum(row.student.stopped_early for row in trace)}")
    print(f"  warnings in the output: {len(re.findall('; retrying', output))}")
    return trace


def outcome(row: TraceRow) -> tuple[object, ...]:
    """Return what has to be equal, but for the student's structure."""
    verdicts = [(verdict.number, verdict.field, verdict.matched) for verdict in row.verdicts]
    student = row.student.status, row.student.clipped, row.student.cut
    return row.teacher, student, verdicts, row.step_scores, row.total, row.reward


def agrees(one: Side, other: Side) -> bool:
    """Return whether two structures of one path are equal as far as both were read.

    A structure that was stopped early may have fewer fields than a whole one, but no more.
    """
    fields, others = ([*chain.from_iterable(side.steps), *side.unfinished] for side in (one, other))
    shared = min(len(fields), len(others))
    is_shorter = len(fields) < len(others)
    may_differ = len(fields) == len(others) or (one if is_shorter else other).stopped_early
    return may_differ and fields[:shared] == others[:shared]


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--rate", type=float, default=200.0, help="tokens a second of the GSRM")
    parser.add_argument("--outage", type=int, nargs="*", default=[300, 800])
    options = parser.parse_args()
    calm_script = Script(gsrm=0.05, judge=0.01, tokens_per_second=options.rate, refuse=True)
    chaos_script = replace(calm_script, faults=options.faults, outages=tuple(options.outage))
    with tempfile.TemporaryDirectory() as folder:
        calm = measure("calm", Path(folder), options.steps, calm_script)
        chaos = measure("chaos", Path(folder), options.steps, chaos_script)
    pairs = list(zip(calm, chaos, strict=True))
    rewards = sum(one.reward == other.reward for one, other in pairs)
    outcomes = sum(outcome(one) == outcome(other) for one, other in pairs)
    students = sum(agrees(one.student, other.student) for one, other in pairs)
    print(
        f"of {len(pairs)} completions {rewards} have equal rewards, {outcomes} equal teachers, "
        f"verdicts, step scores and rewards, {students} the same student's structure as far as "
        "both were read"
    )
    different = len({row.reward for row in calm})
    mean = sum(row.reward or 0.0 for row in calm) / len(calm)
    print(f"({different} different rewards, mean {mean:.3f})")


if __name__ == "__main__":
    main()
