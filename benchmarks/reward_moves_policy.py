"""Does the structure reward move the policy? Two seeds, and a control with shuffled rewards.

    python -m benchmarks.reward_moves_policy OUT [--steps 48] [--runs seed1 seed2 control]
    ... OUT --engine small [--group 4]

Trains SmolLM2-135M-Instruct by `swift rlhf` with `rlkd_gsrm` alone (rules engine or the small GSRM,
reward scale `steps`) on 16 of the demo's problems: groups of 8, 2 prompts a step. Compares the mean
structure reward of the last quarter of the steps with the first quarter's, and draws the curves.
A finished run in OUT is not repeated. With the rules a step takes about 25 s on 2
cores, and the run 7 GiB of memory. With the small GSRM and groups of 4 it takes about 60 s on one
core; several runs go at once when each is started by itself, with OMP_NUM_THREADS=1 and --runs.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from statistics import fmean, stdev

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.swift_commands import swift_command

PROBLEMS = ROOT / "rlkd_plugin" / "rlkd_data" / "samples" / "rlkd_demo_problems.jsonl"
RUNS = {"seed1": (1, "rlkd_gsrm"), "seed2": (2, "rlkd_gsrm"), "control": (1, "rlkd_gsrm_shuffled")}
METRIC = "rlkd/structure_reward"
GRPO: dict[str, object] = {
    "rlhf_type": "grpo",
    "external_plugins": [
        ROOT / "rlkd_plugin" / "register.py",
        ROOT / "examples" / "miniature" / "rewards.py",
    ],
    "model": MODEL,
    "model_type": "llama",
    "template": "chatml",
    "check_model": False,
    "torch_dtype": cpu_dtype(),
    "use_cpu": True,
    "system": "Solve the problem in short steps. Write one sentence with one equation a step.",
    "callbacks": "rlkd_metrics",
    "gradient_accumulation_steps": 1,
    "max_completion_length": 96,
    "temperature": 1.0,
    "beta": 0.0,
    "tuner_type": "lora",
    "lora_rank": 16,
    "lora_alpha": 32,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "constant",
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "report_to": "none",
    "dataloader_num_workers": 0,
    "add_version": False,
}


def train(out: Path, run: str, steps: int, engine: str, group: int) -> None:
    """Run one training unless it is finished."""
    seed, reward = RUNS[run]
    folder = out / run
    if len(curve(folder)) >= steps:
        return
    shutil.rmtree(folder, ignore_errors=True)  # ms-swift would add to the log of a stopped run
    rows = out / "rows.jsonl"
    rows.write_text("".join(PROBLEMS.read_text("utf-8").splitlines(keepends=True)[:16]), "utf-8")
    options: dict[str, object] = {
        **GRPO,
        "dataset": f"rlkd/jsonl:{rows}",
        "reward_funcs": reward,
        "num_generations": group,
        "per_device_train_batch_size": 2 * group,
        "seed": seed,
        "max_steps": steps,
        "save_steps": steps,
        "output_dir": folder,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (out / f"{run}.log").open("w") as log:
        subprocess.run(
            swift_command("rlhf", options),
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "RLKD_ENGINE": engine,
                "RLKD_REWARD_SCALE": "steps",
                "RLKD_SMALL_MODEL": str(MODEL),
            },
        )


def curve(folder: Path) -> list[float]:
    """Return the mean structure reward of each step, as ms-swift logged it."""
    log = folder / "logging.jsonl"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return [row[METRIC] for row in map(json.loads, lines) if METRIC in row]


def quarters(values: list[float]) -> tuple[float, float, float]:
    """Return the first and the last quarter's mean, and their difference's standard error."""
    n = max(2, len(values) // 4)
    first, last = values[:n], values[-n:]
    error = ((stdev(first) ** 2 + stdev(last) ** 2) / n) ** 0.5
    return fmean(first), fmean(last), error


def draw(curves: dict[str, list[float]], picture: Path, engine: str) -> None:
    """Draw each run's curve, thin, and its running mean over 8 steps, bold."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    styles = {"seed1": ("#0072b2", "-"), "seed2": ("#009e73", "--"), "control": ("#d55e00", ":")}
    for run, values in curves.items():
        color, line = styles[run]
        means = [fmean(values[max(0, i - 7) : i + 1]) for i in range(len(values))]
        axes.plot(range(1, len(values) + 1), values, color=color, alpha=0.25, linewidth=1)
        label = run if run != "control" else "control (rewards shuffled in each group)"
        axes.plot(range(1, len(values) + 1), means, line, color=color, linewidth=2, label=label)
    axes.set(xlabel="step", ylabel="mean structure reward r")
    engine_name = {"rules": "rules engine", "small": "small GSRM"}[engine]
    axes.set_title(f"The structure reward over the steps ({engine_name}, 16 problems)", loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=150)


def main() -> None:
    """Run the trainings that are not finished, then print the table and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--engine", choices=("rules", "small"), default="rules")
    parser.add_argument("--group", type=int, default=8, help="completions of a prompt")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    asked = {"engine": options.engine, "group": options.group}
    file = out / "run.json"
    if file.exists() and json.loads(file.read_text("utf-8")) != asked:
        raise SystemExit(f"{out} holds runs with other options ({file}); take another folder")
    file.write_text(json.dumps(asked) + "\n", "utf-8")
    for run in options.runs:
        train(out, run, options.steps, options.engine, options.group)
    curves = {run: values for run in RUNS if len(values := curve(out / run)) >= options.steps}
    print(
        f"{'run':<10}{'steps':>6}{'first':>8}{'last':>8}{'difference':>12}{'s.e.':>8}  (quarters)"
    )
    for run, values in curves.items():
        first, last, error = quarters(values)
        figures = f"{first:>8.3f}{last:>8.3f}{last - first:>12.3f}{error:>8.3f}"
        print(f"{run:<10}{len(values):>6}{figures}")
    draw(curves, out / "reward_moves_policy.png", options.engine)


if __name__ == "__main__":
    main()
