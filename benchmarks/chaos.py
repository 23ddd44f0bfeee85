"""Real GRPO steps while the servers fail in every way that passes, beside the same without faults.

    python benchmarks/chaos.py [--steps 50] [--faults 0.2]

The demo's problems and model, RLKD_ENGINE=server, against the scripted server: once without faults,
once with a share of faults of every kind (statuses that pass, connections reset, replies cut off,
broken, empty or late, no structure or verdict at the first ask) and two outages of 30 s. In both
one text in 500 is refused for good. Every reward, structure and verdict of the two traces has
to be equal.
"""

import argparse
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype

if __package__ in (None, ""):
    from scripted_server import run as run_scripted
else:
    from benchmarks.scripted_server import run as run_scripted

ROOT = Path(__file__).resolve().parents[1]


def train(out: Path, cache: Path, steps: int, url: str) -> str:
    """Run `swift rlhf`; return its output."""
    options = {
        "--rlhf_type": "grpo",
        "--external_plugins": ROOT / "rlkd_plugin" / "register.py",
        "--model": ROOT / "models" / "SmolLM2-135M-Instruct",
        "--model_type": "llama",
        "--template": "chatml",
        "--check_model": "false",
        "--torch_dtype": cpu_dtype(),
        "--use_cpu": "true",
        "--tuner_type": "lora",
        "--dataset": "rlkd/demo",
        "--callbacks": "rlkd_metrics",
        "--num_generations": 4,
        "--temperature": 0.7,
        "--per_device_train_batch_size": 8,
        "--gradient_accumulation_steps": 1,
        "--max_completion_length": 64,
        "--beta": 0,
        "--gradient_checkpointing": "false",
        "--max_steps": steps,
        "--save_steps": steps,
        "--logging_steps": 1,
        "--seed": 7,
        "--report_to": "none",
        "--learning_rate": 1e-4,
        "--add_version": "false",
        "--output_dir": out,
    }
    command = [sys.executable, find_spec("swift.cli.rlhf").origin]
    command += [str(part) for option in options.items() for part in option]
    command += ["--reward_funcs", "accuracy", "rlkd_gsrm"]
    settings = {
        "RLKD_GSRM_BASE_URL": url,
        "RLKD_JUDGE_BASE_URL": url,
        "RLKD_REQUEST_TIMEOUT": "5",
        "RLKD_GSRM_MODEL": "gsrm",
        "RLKD_JUDGE_MODEL": "judge",
        "RLKD_CACHE_DIR": str(cache),
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RLKD_")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**clean, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def measured(name: str, folder: Path, steps: int, **faults: Any) -> list[dict[str, Any]]:
    """Train beside a server, print what came, and return the trace."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(
        target=run_scripted,
        args=(port, {"gsrm": 0.05, "judge": 0.01}, 64),
        kwargs={"refuse": True, **faults},
        daemon=True,
    )
    server.start()
    begin = time.monotonic()
    out = folder / name
    said = train(out, folder / f"{name}_cache", steps, f"http://127.0.0.1:{port}/v1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as reply:
        stats = json.load(reply)
    server.terminate()
    logs = [json.loads(line) for line in (out / "logging.jsonl").open()]
    rows = [row for row in logs if "rlkd/retries" in row]
    trace = [json.loads(line) for line in (out / "rlkd_trace_rank0.jsonl").open()]
    print(
        f"{name}: {len(rows)} steps, {len(trace)} completions, {time.monotonic() - begin:.0f} s; "
        f"the log counts {sum(row['rlkd/requests'] for row in rows):.0f} requests and "
        f"{sum(row['rlkd/retries'] for row in rows):.0f} retries, the slowest reward took "
        f"{max(row['rlkd/seconds'] for row in rows):.0f} s"
    )
    print(f"  the server was asked {stats['asked']}; faults: {stats['faults']}")
    warnings = re.findall(r"; retrying", said)
    print(f"  warnings in the output: {len(warnings)}")
    return trace


def main() -> None:
    """Run both and compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=50)
    options.add_argument("--faults", type=float, default=0.2)
    options.add_argument("--outage", type=int, nargs="*", default=[300, 800])
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm = measured("calm", Path(folder), args.steps)
        chaos = measured(
            "chaos", Path(folder), args.steps, faults=args.faults, outages=tuple(args.outage)
        )
    kept = ("teacher", "student", "step_scores", "reward")
    equal = sum(
        all(one[name] == other[name] for name in kept)
        and [v["matched"] for v in one["verdicts"]] == [v["matched"] for v in other["verdicts"]]
        for one, other in zip(calm, chaos, strict=True)
    )
    spread = len({row["reward"] for row in calm})
    print(f"{equal} of {len(calm)} completions have equal structures, verdicts and rewards")
    print(f"({spread} different rewards, mean {sum(r['reward'] for r in calm) / len(calm):.3f})")


if __name__ == "__main__":
    main()
