"""One command for all models of a training: each in its own folder, in the order of their steps."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.rlkd_eval.run_models import RunModel, run_models


def models_of(run: Path, steps: str, base: str, with_base: bool, name: str = "") -> list[RunModel]:
    """Find the models of a run as a command's options say.

    Args:
        run: the folder of a training.
        steps: of these alone, comma-separated; empty for all.
        base: the model that the run began with, where its own arguments do not say.
        with_base: whether it counts as step 0.
        name: of the run, in place of its folder's.

    Raises:
        RlkdError: if the steps are none, or the run does not keep them.
    """
    texts = [text.strip() for text in steps.split(",") if text.strip()]
    if not all(re.fullmatch(r"[0-9]{1,9}", text) for text in texts):
        raise RlkdError(f"--steps {steps}: give steps as whole numbers, for example --steps 20,40")
    found = run_models(run, [int(text) for text in texts], base, with_base)
    return [replace(model, run=name) for model in found] if name else found


def each_model(
    models: Sequence[RunModel], out: Path, work: Callable[[Path, RunModel], bool]
) -> list[Path]:
    """Do a command's work for each model, and say where it stands.

    Args:
        models: in the order of their steps.
        out: a folder of a folder for each.
        work: gets a model's folder and the model; returns whether there was something to do.

    Returns:
        The folders.

    Raises:
        RlkdError: if the work for a model fails; the message says which one. What is done stays.
    """
    folders: list[Path] = []
    for number, model in enumerate(models, start=1):
        folder = out / model.folder_name
        about = f"{model.label} ({number} of {len(models)})"
        typer.echo(f"{about}: {model.place}")
        try:
            _check_kept(model)
            if not work(folder, model):
                typer.echo(f"{about}: was done before")
        except (RlkdError, OSError) as error:
            kind = EndpointError if isinstance(error, EndpointError) else RlkdError
            raise kind(
                f"{about}, {model.place}: {str(error).rstrip('.')}. Done so far: {len(folders)}; "
                "the same command goes on with this one"
            ) from error
        folders.append(folder)
    return folders


def _check_kept(model: RunModel) -> None:
    """Check that a model of the run is still there; else its path would be taken for a hub's id.

    Raises:
        RlkdError: if it is not.
    """
    if model.step and not Path(model.place).is_dir():
        raise RlkdError(
            "it was there when the command began, and is gone: a training that goes on deletes its "
            "older checkpoints (save_total_limit). Snapshots stay (--callbacks rlkd_snapshots)"
        )
