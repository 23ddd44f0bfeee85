"""Makes the demo's student again: its problems, its warm-up by `swift sft`, and its adapter.

    python -m examples.demo_student.run OUT [--ship]

`OUT/adapter` is what `make demo STUDENT=OUT/adapter` starts from. With `--ship` the adapter and the
demo's problems also replace those that the plugin carries. A finished training in OUT is kept; one
that was stopped is done again from its start.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from examples.demo_student.rows import demo_rows, draw, warm_up_rows
from examples.small_gsrm.run import is_finished
from examples.small_gsrm.ship import last_checkpoint, ship
from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import ROOT

CONFIG = Path(__file__).with_name("warm_up.yaml")
SHIPPED = ROOT / "rlkd_plugin" / "swift_hooks" / "local" / "demo_student"
PROBLEMS = ROOT / "rlkd_plugin" / "rlkd_data" / "samples" / "rlkd_demo_stories.jsonl"


def warm_up(rows: Path, training: Path) -> None:
    """Train the adapter on rows, unless that is finished.

    Raises:
        SystemExit: if `swift sft` fails; the message names its log.
    """
    if is_finished(training):
        print(f"{training} is finished, and kept")
        return
    shutil.rmtree(training, ignore_errors=True)
    log = training.with_suffix(".log")
    print(f"== warm-up by swift sft; its output goes to {log}", flush=True)
    swift = Path(sys.executable).with_name("swift")  # the command alone reads a YAML
    command = [swift, "sft", CONFIG, "--torch_dtype", cpu_dtype()]
    command += ["--dataset", f"rlkd/jsonl-sft:{rows}", "--output_dir", training]
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=file, stderr=file)
    if done.returncode:
        raise SystemExit(f"swift sft ended with {done.returncode}; see {log}")


def main() -> None:
    """Write rows, train, and write the adapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ship", action="store_true", help="replace what the plugin carries")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    demo, warm = draw()
    rows, training = out / "warm_up.jsonl", out / "training"
    rows.write_text(warm_up_rows(warm), "utf-8")
    warm_up(rows, training)
    ship(last_checkpoint(training), out / "adapter")
    if options.ship:
        PROBLEMS.write_text(demo_rows(demo), "utf-8")
        ship(last_checkpoint(training), SHIPPED)


if __name__ == "__main__":
    main()
