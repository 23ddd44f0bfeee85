"""What the structured loss costs: step time and peak memory against plain `swift sft`.

    python -m benchmarks.structured_loss [--model models/SmolLM2-135M-Instruct] [--rows 14]
        [--runs 5] [--dataset rlkd/demo-pairs] [--swift "OPTIONS"]

Plain training and each phase alone (RLKD_PHASES=meta, solve, mixed) run one epoch of the same rows,
in turn, in processes of their own. The table has the median of the runs, and the ratios to plain.
Peak memory is that of the process, without a GPU's or NPU's own.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import tempfile

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import ROOT
from tools.stand_ins.swift_commands import swift_command

KINDS = ("plain", "meta", "solve", "mixed")


def run(kind: str, options: argparse.Namespace, folder: str) -> tuple[float, float]:
    """Train one epoch; return the median step in seconds and the peak memory in MB."""
    sft: dict[str, object] = {
        "external_plugins": ["rlkd_plugin/register.py", "benchmarks/step_times.py"],
        "callbacks": ["step_times"],
        "model": options.model,
        "check_model": False,
        "num_train_epochs": 1,
        "dataset": f"{options.dataset}#{options.rows}",
        "save_strategy": "no",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "logging_steps": 1,
        "report_to": "none",
        "output_dir": folder,
    }
    env = dict(os.environ)
    if kind != "plain":
        sft["callbacks"] = ["step_times", "rlkd_structured"]
        sft["loss_type"] = sft["loss_scale"] = "rlkd_structured"
        env |= {"RLKD_PHASES": kind, "RLKD_MIX_A": "1.2", "RLKD_MIX_B": "0.8"}
    process = subprocess.run(
        swift_command("sft", sft) + shlex.split(options.swift),
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        raise SystemExit(process.stdout[-3000:])
    report = json.loads(process.stdout.rpartition("step_times ")[2].partition("\n")[0])
    return statistics.median(report["seconds"]), report["peak_kb"] / 1024


def main() -> None:
    """Run all kinds in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct")
    parser.add_argument("--dataset", default="rlkd/demo-pairs")
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--swift",
        default="--model_type llama --template chatml --tuner_type lora --use_cpu true "
        f"--torch_dtype {cpu_dtype()} --gradient_checkpointing false --dataloader_num_workers 0",
    )
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            # in another order each time, so that a machine that slows down slows all alike
            for kind in KINDS[number % 4 :] + KINDS[: number % 4]:
                found[kind].append(run(kind, options, folder))
    print(f"median of {options.runs} runs; {options.rows} rows, two a step")
    plain = [statistics.median(values) for values in zip(*found["plain"], strict=True)]
    for kind in KINDS:
        seconds, megabytes = (statistics.median(v) for v in zip(*found[kind], strict=True))
        print(
            f"{kind:<6} {seconds:7.3f} s a step, x {seconds / plain[0]:.3f}; "
            f"{megabytes:6.0f} MB, x {megabytes / plain[1]:.3f}"
        )


if __name__ == "__main__":
    main()
