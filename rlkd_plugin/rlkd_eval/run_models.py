"""Finds the models that a training kept, in the order of steps: snapshots or whole checkpoints.

A resumed run continues in a new folder `vN-DATE`. Its `args.json` names the checkpoint that it
resumed from, and so the folder before it; of that folder the steps up to the checkpoint count.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.training_args import ARGS, read_training_args
from rlkd_plugin.rlkd_data.snapshots import (
    SNAPSHOTS,
    TRAINER_STATE,
    checkpoint_step,
    holds_weights,
)

VERSION = re.compile(r"v(\d+)-")


@dataclass(frozen=True)
class RunModel:
    """A model of a training.

    Attributes:
        run: the name of the training.
        step: of the training; 0 for the model that it started from.
        model: its folder or id; of a LoRA the base model's.
        adapter: the folder of a LoRA for it, or nothing.
    """

    run: str
    step: int
    model: str
    adapter: str = ""

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"{self.run}, step {self.step}"

    @property
    def folder_name(self) -> str:
        """The name of its folder beside those of the run's other models."""
        return f"checkpoint-{self.step}"

    @property
    def place(self) -> str:
        """Its folder or id, for messages."""
        return self.adapter or self.model


@dataclass(frozen=True)
class _Part:
    """A folder of a run, the last step of it that the run kept, and its arguments."""

    folder: Path
    last: float
    args: Mapping[str, Any]


def run_models(
    run: Path, steps: Sequence[int] = (), base: str = "", with_base: bool = False
) -> list[RunModel]:
    """Find the models of a run: its snapshots or, where it has none, its whole checkpoints.

    Args:
        run: the output folder of a training, or one of its folders `vN-DATE`; of several the
            newest one counts, with those that it resumed from.
        steps: only these; checkpoints then count beside snapshots.
        base: the model that the run started from; by default that of its `args.json`.
        with_base: whether it comes first, as step 0.

    Returns:
        The models in the order of their steps, each step once.

    Raises:
        RlkdError: if there is no such run, it has no model, or none of a step in `steps`.
    """
    parts = list(_parts(_newest(run)))
    name = _run_name(parts[0].folder)
    snapshots = _find_folders(parts, SNAPSHOTS)
    places = _find_folders(parts, "") | snapshots if steps or not snapshots else snapshots
    if missing := [step for step in steps if step and step not in places]:
        there = ", ".join(map(str, sorted(places))) or "none"
        raise RlkdError(f"{run} has no model of step {missing[0]}; it has steps {there}")
    if not places:
        raise RlkdError(
            f"{run} has neither a snapshot nor a whole checkpoint yet: a run takes snapshots with "
            "--callbacks rlkd_snapshots, at the steps in RLKD_SNAPSHOT_STEPS"
        )
    chosen = sorted(step for step in places if not steps or step in steps)
    models = [_model(name, step, places[step], base) for step in chosen]
    if with_base or 0 in steps:
        models.insert(0, _start_model(name, parts[-1], base))
    return models


def _newest(run: Path) -> Path:
    """Return the folder itself, or its newest `vN-DATE`.

    Raises:
        RlkdError: if it is not a folder of a run.
    """
    if not run.is_dir():
        raise RlkdError(f"there is no folder {run}")
    if checkpoint_step(run) is not None:
        raise RlkdError(f"{run} is one checkpoint: give it as --model, or name the run's folder")
    if run.name == SNAPSHOTS:
        run = run.parent
    versions = [(int(m[1]), p) for p in run.glob("v*-*/") if (m := VERSION.match(p.name))]
    return max(versions)[1] if versions else run


def _parts(folder: Path) -> Iterator[_Part]:
    """Yield the folders of a run, the newest first."""
    last, seen = float("inf"), set[Path]()
    while folder.is_dir() and folder.resolve() not in seen:
        seen.add(folder.resolve())
        args = read_training_args(folder)
        yield _Part(folder, last, args)
        resumed = _resume_point(args)
        step = checkpoint_step(resumed) if resumed else None
        if resumed is None or step is None:
            return
        last = min(last, step)
        before = resumed.parent.parent if resumed.parent.name == SNAPSHOTS else resumed.parent
        beside = folder.parent / before.name  # the whole output folder may have moved
        folder = beside if beside.is_dir() else before


def _resume_point(args: Mapping[str, Any]) -> Path | None:
    """Return the checkpoint from whose step a run resumed; None for one that started at step 0."""
    if args.get("resume_only_model") and args.get("ignore_data_skip"):
        return None
    return Path(str(args["resume_from_checkpoint"])) if args.get("resume_from_checkpoint") else None


def _start_model(name: str, first: _Part, base: str) -> RunModel:
    """Return the model that a run started from, with the LoRA that it trained further.

    Raises:
        RlkdError: if its first folder is missing, names no model, or names several LoRAs.
    """
    is_first = not _resume_point(first.args)  # else its model is the checkpoint
    model = base or (str(first.args.get("model") or "") if is_first else "")
    if not model:
        raise RlkdError(
            f"{first.folder} does not name the model that the run started from: give --model"
        )
    adapters = first.args.get("adapters") if is_first else None
    match adapters or []:
        case str(adapter) | [str(adapter)]:
            return RunModel(name, 0, model, adapter)
        case []:
            return RunModel(name, 0, model)
        case several:
            raise RlkdError(
                f"{first.folder} started from several LoRAs ({several}), which cannot be served "
                "together: merge them, and evaluate the merged model"
            )


def _run_name(folder: Path) -> str:
    whole = folder.resolve()
    return whole.parent.name if VERSION.match(whole.name) else whole.name


def _find_folders(parts: Sequence[_Part], under: str) -> dict[int, Path]:
    """Return the folders with weights by their steps, of the newest part that has the step."""
    found: dict[int, Path] = {}
    for part in parts:
        for folder in sorted((part.folder / under).glob("checkpoint-*")):
            step = checkpoint_step(folder)
            if step is None or step > part.last or not folder.is_dir():
                continue
            if holds_weights(folder) and (folder / TRAINER_STATE).is_file():
                found.setdefault(step, folder)
    return found


def _model(run: str, step: int, folder: Path, base: str) -> RunModel:
    """Return a model; an adapter comes with its base model."""
    if not (folder / "adapter_config.json").is_file():
        return RunModel(run, step, str(folder))
    model = base or str(read_training_args(folder).get("model") or "")
    if not model:
        raise RlkdError(f"{folder} does not name its base model ({ARGS}): give --model")
    return RunModel(run, step, model, str(folder))
