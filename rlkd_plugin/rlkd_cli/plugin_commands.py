"""The commands about the plugin itself: its file, and a guard for the processes of a run."""

from pathlib import Path
from typing import Annotated

import typer


def path() -> None:
    """Print the plugin file's path, for `swift rlhf --external_plugins $(rlkd path)`."""
    typer.echo(Path(__file__).resolve().parents[1].joinpath("register.py"))


def guard(
    command: Annotated[list[str], typer.Argument(help="The command and its options.")],
    server: Annotated[
        bool, typer.Option("--server", help="It serves: that it ends is an error.")
    ] = False,
) -> None:
    """Run a command of a Procfile; when it or the process manager ends, nothing of it is left."""
    from rlkd_plugin.rlkd_guard import guard as run

    raise typer.Exit(run(command, server))  # an OSError ends as one line, with status 1
