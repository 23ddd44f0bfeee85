"""What `rlkd eval` and `rlkd diversity` share: options of a run's models, and how they are read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import RlkdError

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


def check_alone(given: Mapping[str, object], needs: str = "") -> None:
    """Check that options which do not go with --snapshots, or only with it, are not given.

    Raises:
        RlkdError: if one is.
    """
    if there := [option for option, value in given.items() if value]:
        if needs:
            raise RlkdError(f"{there[0]} goes with {needs} alone")
        raise RlkdError(f"{there[0]} is of one model: it does not go with --snapshots")


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
