"""Trains stages by ms-swift's commands: resumed where they stopped, several at once."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml
from transformers import AutoTokenizer

from examples.miniature.arms import Stage

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 2.0
STOP_SECONDS = 20
PROGRESS = "global_step/max_steps"
LENGTH = "completions/mean_length"


@dataclass(frozen=True)
class Training:
    """One training of a stage into a folder, from a model, on a file of rows.

    Attributes:
        stage: what is trained.
        folder: `output_dir`; its log goes beside it.
        model: the folder of the student at its start.
        dataset: for `--dataset`.
        seed: of the run; drawing of completions and the order of problems follow it.
        options: further options, which win over the YAML's.
    """

    stage: Stage
    folder: Path
    model: Path
    dataset: str
    seed: int
    options: Mapping[str, str | int]

    @property
    def name(self) -> str:
        """The arm and its seed, for messages."""
        return self.folder.name

    @property
    def log(self) -> Path:
        """ms-swift's output."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def checkpoints(self) -> dict[int, Path]:
        """Return the whole checkpoints by step: one that a kill cut off has no trainer state."""
        found = self.folder.glob("checkpoint-*/trainer_state.json")
        return {int(file.parent.name.rpartition("-")[2]): file.parent for file in sorted(found)}

    def final(self) -> Path | None:
        """Return the last checkpoint if the training reached its last step, else None."""
        whole = self.checkpoints()
        if not whole:
            return None
        last = whole[max(whole)]
        state = json.loads((last / "trainer_state.json").read_text("utf-8"))
        return last if state["global_step"] == state["max_steps"] else None

    def steps_done(self) -> int:
        """Return the last logged step, 0 before the first."""
        return max((step for step, _ in self.logged()), default=0)

    def max_steps(self) -> int:
        """Return how many steps it has: by its options, else by its recipe."""
        recipe = yaml.safe_load(self.stage.yaml.read_text("utf-8"))
        return int(self.options.get("max_steps", recipe["max_steps"]))

    def seconds(self) -> float:
        """Return the wall time of all its processes."""
        return (
            sum(map(float, self._times.read_text("utf-8").split())) if self._times.exists() else 0
        )

    def add_seconds(self, seconds: float) -> None:
        """Record the wall time of a process."""
        with self._times.open("a", encoding="utf-8") as file:
            file.write(f"{seconds:.1f}\n")

    @property
    def _times(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.seconds")

    def completions(self) -> int:
        """Return how many completions it drew; none where it learned from the teacher's paths."""
        batch = self._arguments()["per_device_train_batch_size"]
        return batch * sum(LENGTH in entry for _, entry in self.logged())

    def tokens_generated(self) -> int:
        """Return the tokens of its completions, by ms-swift's log of their mean length."""
        lengths = [float(str(entry[LENGTH])) for _, entry in self.logged() if LENGTH in entry]
        return round(self._arguments()["per_device_train_batch_size"] * sum(lengths))

    def tokens_trained(self) -> int:
        """Return the tokens that had a loss: those generated, or those of the teacher's turns."""
        if self.stage.command == "rlhf":
            return self.tokens_generated()
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        rows = Path(self.dataset.rpartition(":")[2]).read_text("utf-8").splitlines()
        turns = [json.loads(row)["messages"][-1]["content"] for row in rows]
        mean = fmean(1 + len(ids) for ids in tokenizer(turns)["input_ids"])  # and the end's
        return round(mean * self._arguments()["per_device_train_batch_size"] * self.steps_done())

    def _arguments(self) -> dict[str, int]:
        return json.loads((self.folder / "args.json").read_text("utf-8"))

    def diverged_at(self) -> int | None:
        """Return the first step whose loss or gradient is no finite number, None if all are."""
        return min((step for step, entry in self.logged() if not _is_finite(entry)), default=None)

    def logged(self) -> list[tuple[int, dict[str, object]]]:
        """Return the steps of ms-swift's log with their values; a repeated step as logged last."""
        log = self.folder / "logging.jsonl"
        entries: dict[int, dict[str, object]] = {}
        for line in log.read_text("utf-8").splitlines() if log.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:  # the half line of a kill
                continue
            step = re.match(r"(\d+)/", str(entry.get(PROGRESS, "")))
            if step:
                entries.setdefault(int(step[1]), {}).update(entry)
        return sorted(entries.items())

    def command(self) -> list[str]:
        """Return the command line, which resumes from the last whole checkpoint."""
        options: dict[str, str | int] = {
            "model": str(self.model),
            "dataset": self.dataset,
            "output_dir": str(self.folder),
            "add_version": "false",
            "seed": self.seed,
            "data_seed": self.seed,
            **self.options,
        }
        if whole := self.checkpoints():
            options["resume_from_checkpoint"] = str(whole[max(whole)])
        swift = str(Path(sys.executable).with_name("swift"))  # the command alone reads a YAML
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [swift, self.stage.command, str(self.stage.yaml), *words]

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the command in a process group of its own, on one thread: more gain little."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def train_all(
    trainings: Sequence[Training], at_once: int, progress: Callable[[Sequence[Training]], None]
) -> dict[str, str]:
    """Run the trainings that are not finished, some at once; one that fails stops no other.

    Returns:
        For each training that did not finish or diverged, by its name, what happened.
    """
    waiting = [training for training in trainings if not training.final()]
    running: list[tuple[Training, subprocess.Popen[bytes], float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                training = waiting.pop(0)
                running.append((training, training.start(), time.monotonic()))
            time.sleep(POLL_SECONDS)
            progress([one for one, _, _ in running])
            for ended in [one for one in running if one[1].poll() is not None]:
                running.remove(ended)
                ended[0].add_seconds(time.monotonic() - ended[2])
    finally:
        for training, process, started in running:
            stop(process)
            training.add_seconds(time.monotonic() - started)
    return {one.name: why for one in trainings if (why := outcome(one))}


def outcome(training: Training) -> str | None:
    """Return what went wrong with a training, None where it is finished and sound."""
    if (step := training.diverged_at()) is not None:
        return f"diverged: loss or gradient not finite from step {step} on ({training.log})"
    if training.final() is None:
        return f"ended at step {training.steps_done()}; read the end of {training.log}"
    return None


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a training's whole process group, by force if it does not end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _is_finite(entry: Mapping[str, object]) -> bool:
    """Return whether loss and gradient of a log line are finite; ms-swift logs them as text too."""
    values = [float(str(entry[key])) for key in ("loss", "grad_norm") if key in entry]
    return all(map(math.isfinite, values))
