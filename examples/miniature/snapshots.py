"""Draws and keeps completions of every checkpoint on the test sets; what is kept is not redrawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from examples.miniature.measure import Scored, score
from examples.miniature.problems import Problem
from examples.miniature.sample import Completion, Sampling, draw
from examples.miniature.sets import TEST_SETS
from rlkd_plugin.rlkd_files import write_whole

FINAL = Sampling(samples=8)
ON_THE_WAY = Sampling(samples=4)
PROBLEMS_ON_THE_WAY = 100
"""Checkpoints before the last are measured on the first so many problems of each set."""


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint of an arm and a seed; a student that arms start from has seed 0 and step 0."""

    arm: str
    seed: int
    step: int
    folder: Path
    is_final: bool

    @property
    def sampling(self) -> Sampling:
        """How its completions are drawn."""
        return FINAL if self.is_final else ON_THE_WAY


@dataclass(frozen=True)
class Drawing:
    """The completions of a snapshot to problems, to be drawn into a file."""

    file: Path
    snapshot: Snapshot
    texts: tuple[str, ...]


class Samples:
    """The completions of a study, a file a snapshot and test set, and their scores."""

    def __init__(self, folder: Path, sets: Mapping[str, Sequence[Problem]]) -> None:
        self.folder = folder
        self.sets = sets

    def problems(self, name: str, snapshot: Snapshot) -> Sequence[Problem]:
        """Return the problems of a set that a snapshot is measured on."""
        every = self.sets[name]
        return every if snapshot.is_final else every[:PROBLEMS_ON_THE_WAY]

    def missing(self, snapshots: Sequence[Snapshot]) -> list[tuple[Snapshot, str]]:
        """Return what has to be drawn."""
        wanted = [(snapshot, name) for snapshot in snapshots for name in TEST_SETS]
        return [
            (snapshot, name) for snapshot, name in wanted if not self._file(snapshot, name).exists()
        ]

    def drawing(self, snapshot: Snapshot, name: str) -> Drawing:
        """Return what `draw_into` needs for a snapshot and a set."""
        texts = tuple(problem.text for problem in self.problems(name, snapshot))
        return Drawing(self._file(snapshot, name), snapshot, texts)

    def scored(self, snapshot: Snapshot, name: str) -> list[list[Scored]]:
        """Return the scores of a snapshot's completions, a list a problem."""
        kept = json.loads(self._file(snapshot, name).read_text("utf-8"))
        drawn = [[Completion(*one) for one in texts] for texts in kept["completions"]]
        return score(self.problems(name, snapshot), drawn)

    def _file(self, snapshot: Snapshot, name: str) -> Path:
        run = f"{snapshot.arm}-{snapshot.seed}"
        return self.folder / run / f"step-{snapshot.step}" / f"{name.rpartition(':')[2]}.json"


def draw_alone(one: Drawing) -> None:
    """Draw on one thread, in a process that shares the machine with others."""
    torch.set_num_threads(1)
    draw_into(one)


def draw_into(one: Drawing) -> None:
    """Draw the completions of a snapshot on a set, and keep them."""
    drawn = draw(one.snapshot.folder, one.texts, one.snapshot.sampling)
    one.file.parent.mkdir(parents=True, exist_ok=True)
    about = {"model": str(one.snapshot.folder), **asdict(one.snapshot.sampling)}
    write_whole(one.file, json.dumps(about | {"completions": drawn}) + "\n")


def snapshots_of(arm: str, seed: int, checkpoints: Mapping[int, Path]) -> list[Snapshot]:
    """Return the snapshots of a finished training."""
    return [
        Snapshot(arm, seed, step, folder, step == max(checkpoints))
        for step, folder in sorted(checkpoints.items())
    ]
