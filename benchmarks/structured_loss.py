"""What the structured loss costs: step time and peak memory against plain `swift sft`.

    python benchmarks/structured_loss.py [--model models/SmolLM2-135M-Instruct] [--rows 14]
        [--runs 5] [--dataset rlkd/demo-pairs] [--swift "OPTIONS"]

Plain training and each phase alone (RLKD_PHASES=meta, solve, mixed) run one epoch of the same rows,
in turn, in processes of their own. The table has the median of the runs, and the ratios to plain.
Peak memory is that of the process: on a GPU or NPU it leaves out the device's.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("plain", "meta", "solve", "mixed")


def run(kind: str, args: argparse.Namespace, folder: str) -> tuple[float, float]:
    """Train one epoch; return the median step in seconds and the peak memory in MB."""
    names = []
    if kind != "plain":
        for option in ("--loss_type", "--loss_scale"):
            names += [option, "rlkd_structured"]
    callbacks = ["step_times", *([] if kind == "plain" else ["rlkd_structured"])]
    command = [
        *[sys.executable, find_spec("swift.cli.sft").origin, *names, "--callbacks", *callbacks],
        *["--external_plugins", "rlkd_plugin/register.py", "benchmarks/step_times.py"],
        *["--model", args.model, "--check_model", "false", "--num_train_epochs", "1"],
        *["--dataset", f"{args.dataset}#{args.rows}", "--save_strategy", "no"],
        *["--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "2"],
        *["--logging_steps", "1", "--report_to", "none", "--output_dir", folder],
        *shlex.split(args.swift),
    ]
    env = {"RLKD_PHASES": kind, "RLKD_MIX_A": "1.2", "RLKD_MIX_B": "0.8"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(env if kind != "plain" else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    said = json.loads(done.stdout.rpartition("step_times ")[2].partition("\n")[0])
    return statistics.median(said["seconds"]), said["peak_kb"] / 1024


def main() -> None:
    """Run all kinds in turn and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="models/SmolLM2-135M-Instruct")
    options.add_argument("--dataset", default="rlkd/demo-pairs")
    options.add_argument("--rows", type=int, default=14)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument(
        "--swift",
        default="--model_type llama --template chatml --tuner_type lora --use_cpu true "
        f"--torch_dtype {cpu_dtype()} --gradient_checkpointing false --dataloader_num_workers 0",
    )
    args = options.parse_args()
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.runs):
            # in another order each time, so that a machine that slows down slows all alike
            for kind in KINDS[number % 4 :] + KINDS[: number % 4]:
                found[kind].append(run(kind, args, folder))
    print(f"median of {args.runs} runs; {args.rows} rows, two a step")
    plain = [statistics.median(values) for values in zip(*found["plain"], strict=True)]
    for kind in KINDS:
        seconds, megabytes = (statistics.median(v) for v in zip(*found[kind], strict=True))
        print(
            f"{kind:<6} {seconds:7.3f} s a step, x {seconds / plain[0]:.3f}; "
            f"{megabytes:6.0f} MB, x {megabytes / plain[1]:.3f}"
        )


if __name__ == "__main__":
    main()
