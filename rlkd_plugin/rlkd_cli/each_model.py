"""One command for all models of a training: each in its own folder, in the order of their steps."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.rlkd_eval.run_models import RunModel, run_models


def models_of(run: Path, steps: str, base: str, with_base: bool, name: str = "") -> list[RunModel]:
    """Find the models of a run that a command's options name.

    Args:
        run: the folder of a training.
        steps: only these, comma-separated; empty for all.
        base: the model that the run began with, if its arguments do not name it.
        with_base: whether it counts as step 0.
        name: the run's name instead of its folder's.

    Raises:
        RlkdError: if the steps are not numbers, or the run has no such steps.
    """
    texts = [text.strip() for text in steps.split(",") if text.strip()]
    if not all(re.fullmatch(r"[0-9]{1,9}", text) for text in texts):
        raise RlkdError(f"--steps {steps}: give steps as whole numbers, for example --steps 20,40")
    found = run_models(run, [int(text) for text in texts], base, with_base)
    return [replace(model, run=name) for model in found] if name else found


def each_model(
    models: Sequence[RunModel], out: Path, work: Callable[[Path, RunModel], bool]
) -> list[Path]:
    """Do a command's work for each model, and print the progress.

    Args:
        models: in the order of their steps.
        out: the folder that gets a folder for each model.
        work: gets a model's folder and the model; returns False if it was done before.

    Returns:
        The folders.

    Raises:
        RlkdError: if the work for a model fails; the message names the model. Finished work stays.
    """
    folders: list[Path] = []
    for number, model in enumerate(models, start=1):
        folder = out / model.folder_name
        about = f"{model.label} ({number} of {len(models)})"
        typer.echo(f"{about}: {model.place}")
        try:
            _check_exists(model)
            if not work(folder, model):
                typer.echo(f"{about}: already done")
        except (RlkdError, OSError) as error:
            kind = EndpointError if isinstance(error, EndpointError) else RlkdError
            raise kind(
                f"{about}, {model.place}: {str(error).rstrip('.')}. Done so far: {len(folders)}. "
                "Give the same command again to resume with this one"
            ) from error
        folders.append(folder)
    return folders


def _check_exists(model: RunModel) -> None:
    """Check that a model of the run still exists; else its path would be read as a hub's id.

    Raises:
        RlkdError: if it is not.
    """
    if model.step and not Path(model.place).is_dir():
        raise RlkdError(
            "it was deleted while the command ran: a running training deletes its older "
            "checkpoints (save_total_limit). Snapshots stay (--callbacks rlkd_snapshots)"
        )
