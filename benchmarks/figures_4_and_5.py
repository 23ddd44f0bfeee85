"""A miniature of figures 4 and 5 on a CPU: two runs of a small real model, measured and drawn.

    python -m benchmarks.figures_4_and_5 OUT --embed-model FOLDER [--steps 6] [--completions 4]

SmolLM2-135M-Instruct learns from 48 of the demo's problems by `swift sft`, from the teachers'
paths, and by `swift rlhf`, from the structure reward of the rules engine; LoRA, four rows a step,
the same rows of a step in both. Three snapshots of each run stay (`rlkd_snapshots`), while one
checkpoint does. `rlkd eval --snapshots` evaluates them on 12 other problems of the demo, `rlkd
diversity --snapshots` measures them on 4, and `rlkd report` draws both figures. A run that is
finished is not repeated, and a stopped command resumes when it is run again. FOLDER has a
sentence-transformers model. It shows that the way works; the model is too small, and the runs are
too short, to show what the paper does.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.swift_commands import swift_command

PROBLEMS = ROOT / "rlkd_plugin" / "rlkd_data" / "samples" / "rlkd_demo_problems.jsonl"
TRAINED, EVALUATED, MEASURED = 48, 12, 4
"""Problems of the training, of the evaluation after them, and of the diversity."""
SYSTEM = (
    "Solve the problem in short steps. Write one sentence with one equation a step, and put "
    "the final number in \\boxed{}."
)
SHARED: dict[str, object] = {
    "external_plugins": ROOT / "rlkd_plugin" / "register.py",
    "model": MODEL,
    "model_type": "llama",
    "template": "chatml",
    "system": SYSTEM,
    "check_model": False,
    "torch_dtype": cpu_dtype(),
    "use_cpu": True,
    "tuner_type": "lora",
    "lora_rank": 16,
    "lora_alpha": 32,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "constant",
    "gradient_checkpointing": False,
    "seed": 42,
    "data_seed": 42,
    "logging_steps": 1,
    "save_total_limit": 1,
    "report_to": "none",
    "dataloader_num_workers": 0,
}
RL: dict[str, object] = {
    "rlhf_type": "grpo",
    "callbacks": ["rlkd_metrics", "rlkd_snapshots"],
    "reward_funcs": ["accuracy", "rlkd_gsrm"],
    "per_device_train_batch_size": 8,
    "max_completion_length": 64,
    "temperature": 1.0,
    "beta": 0.0,
}
SFT: dict[str, object] = {
    "callbacks": "rlkd_snapshots",
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "max_length": 512,
}
SERVER = f"--torch_dtype {cpu_dtype()} --model_type llama --template chatml"
"""The base model does not say its type; a checkpoint's args.json does."""
SAMPLING = ["--max-tokens", "160", "--system", SYSTEM]


def write_rows(out: Path) -> None:
    """Write the rows of the trainings, of the evaluation and of the diversity."""
    rows = [json.loads(line) for line in PROBLEMS.read_text("utf-8").splitlines()]
    tests = rows[TRAINED : TRAINED + EVALUATED]
    asked = [
        {"question": row["problem"], "answer": f"{row['teacher_reasoning']}\n#### {row['answer']}"}
        for row in tests
    ]
    paths = [{**row, "messages": messages(row)} for row in rows[:TRAINED]]
    for name, lines in (("train", paths), ("tests", asked), ("questions", tests)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / f"{name}.jsonl").write_text(text, "utf-8")


def messages(row: dict[str, str]) -> list[dict[str, str]]:
    """Return a problem and the teacher's response, which RL takes away."""
    said = f"{row['teacher_reasoning']}\nThe answer is \\boxed{{{row['answer']}}}."
    return [{"role": "user", "content": row["problem"]}, {"role": "assistant", "content": said}]


def train(out: Path, run: str, steps: int, completions: int) -> None:
    """Train a run, unless it has its last snapshot."""
    folder = out / "runs" / run
    if list(folder.glob(f"v*-*/snapshots/checkpoint-{steps}")):
        return
    every = max(1, steps // 3)
    options = {**SHARED, "max_steps": steps, "save_steps": every, "output_dir": folder}
    if run == "rlkd":
        options |= {**RL, "dataset": f"rlkd/jsonl:{out / 'train.jsonl'}"}
        options |= {"num_generations": completions, "gradient_accumulation_steps": completions // 2}
    else:
        options |= {**SFT, "dataset": f"rlkd/jsonl-sft:{out / 'train.jsonl'}"}
    kept = ",".join(str(step) for step in (every, 2 * every, steps))
    given = {"RLKD_ENGINE": "rules", "RLKD_SNAPSHOT_STEPS": kept}
    print(f"{run}: {steps} steps, snapshots of {kept}", flush=True)
    with (out / f"{run}.log").open("w") as log:
        subprocess.run(
            swift_command("rlhf" if run == "rlkd" else "sft", options),
            cwd=ROOT,
            env={**os.environ, **given},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )


def measure(out: Path, run: str, embed_model: str) -> None:
    """Evaluate all snapshots of a run, and measure their diversity; with the RL run the base."""
    every = ["--snapshots", out / "runs" / run, *(["--with-base"] if run == "rlkd" else [])]
    every += ["--server-options", SERVER, *SAMPLING]
    sets = ["--sets", "gsm8k", "--data", f"gsm8k={out / 'tests.jsonl'}", "--samples", "gsm8k=2"]
    rlkd("eval", out / "eval" / run, *every, *sets)
    drawn = ["--count", MEASURED, "--samples", 4, "--embed-model", embed_model]
    rlkd("diversity", out / "diversity" / run, out / "questions.jsonl", *every, *drawn)


def rlkd(*words: object) -> None:
    """Run a command of the plugin."""
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", *map(str, words)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "RLKD_ENGINE": "rules"}, check=True)


def main() -> None:
    """Read the command line, and make the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--embed-model", required=True)
    parser.add_argument("--steps", type=int, default=6, help="of each run, a multiple of 3")
    parser.add_argument("--completions", type=int, default=4, help="of a prompt, an even number")
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out)
    for run in ("sft", "rlkd"):
        train(out, run, given.steps, given.completions)
        measure(out, run, given.embed_model)
    places = [out / kind / run for kind in ("eval", "diversity") for run in ("rlkd", "sft")]
    rlkd("report", out / "runs" / "rlkd", *places, "--out", out / "report.html")


if __name__ == "__main__":
    main()
