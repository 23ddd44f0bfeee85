"""Options of the models that `rlkd eval` and `rlkd diversity` share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import RlkdError

Adapter = Annotated[str, typer.Option(help="Folder of a LoRA for the model.")]
ServerOptions = Annotated[str, typer.Option(help="More options for vllm or swift deploy.")]
System = Annotated[str, typer.Option(help="System prompt; `r1` for that of the recipes.")]
Snapshots = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Folder of a training: use each of its snapshots, into OUT/checkpoint-N.",
    ),
]
Steps = Annotated[str, typer.Option(help="With --snapshots: only these steps, for example 20,40.")]
WithBase = Annotated[
    bool,
    typer.Option(
        "--with-base", help="With --snapshots: also step 0, the model that the run began with."
    ),
]


def check_snapshot_options(
    snapshots: Path | None, steps: str, with_base: bool, of_one_model: Mapping[str, object]
) -> None:
    """Check that options of one model and options of snapshots are not combined.

    Args:
        snapshots: the value of --snapshots.
        steps: that of --steps, which needs --snapshots.
        with_base: that of --with-base, which needs it too.
        of_one_model: values of the options that cannot be combined with it, by name.

    Raises:
        RlkdError: if options are given that cannot be combined.
    """
    if snapshots:
        if given := _names_given(of_one_model):
            raise RlkdError(f"{given[0]} is for one model: remove it, or remove --snapshots")
    elif given := _names_given({"--steps": steps, "--with-base": with_base}):
        raise RlkdError(f"{given[0]} needs --snapshots")


def _names_given(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value]


@contextmanager
def report_stop(out: Path) -> Iterator[None]:
    """Print how to resume, if Ctrl-C or SIGTERM ends the body."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {out} keeps what is done. Give the same command again to resume")
        raise


def system_prompt(text: str) -> str:
    """Return a system prompt; `r1` stands for that of the recipes."""
    if text != "r1":
        return text
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM

    return R1_SYSTEM
