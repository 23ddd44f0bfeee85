"""What `rlkd eval` and `rlkd diversity` share: options of the models, and how they are read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import RlkdError

Adapter = Annotated[str, typer.Option(help="Folder of a LoRA for it.")]
ServerOptions = Annotated[str, typer.Option(help="More options of vllm or swift deploy.")]
System = Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")]
Snapshots = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN", help="A training's folder: each of its snapshots, into OUT/checkpoint-N."
    ),
]
Steps = Annotated[str, typer.Option(help="With --snapshots: these steps alone, 20,40 say.")]
WithBase = Annotated[
    bool, typer.Option("--with-base", help="With --snapshots: step 0 too, the run's first model.")
]


def check_snapshot_options(
    snapshots: Path | None, steps: str, with_base: bool, of_one_model: Mapping[str, object]
) -> None:
    """Check that options of one model, and those of snapshots, do not stand side by side.

    Args:
        snapshots: the value of --snapshots.
        steps: that of --steps, which goes with it alone.
        with_base: that of --with-base, which does too.
        of_one_model: the values of the options that do not go with it, by name.

    Raises:
        RlkdError: if one is given that does not go with the others.
    """
    if snapshots:
        if given := _given(of_one_model):
            raise RlkdError(f"{given[0]} is of one model: it does not go with --snapshots")
    elif given := _given({"--steps": steps, "--with-base": with_base}):
        raise RlkdError(f"{given[0]} goes with --snapshots alone")


def _given(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value]


@contextmanager
def said_when_stopped(out: Path) -> Iterator[None]:
    """Say how to go on, if Ctrl-C or SIGTERM ends the body."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {out} keeps what is done, and the same command goes on there")
        raise


def system_prompt(text: str) -> str:
    """Return a system prompt; `r1` stands for the recipes' own."""
    if text != "r1":
        return text
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM

    return R1_SYSTEM
