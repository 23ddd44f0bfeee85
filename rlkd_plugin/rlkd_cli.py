"""The `rlkd` command: what a user does beside `swift`.

A command imports what it needs when it runs, so that `rlkd path` inside another command line
costs milliseconds.
"""

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rlkd_plugin.gsrm import RlkdError


class Commands(TyperGroup):
    """The commands; what is wrong with the user's files or settings ends as one line."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run a command, and end with exit code 1 where it raises an error of ours."""
        try:
            return super().invoke(ctx)
        except (RlkdError, OSError) as error:
            typer.echo(f"rlkd: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    help="RLKD for ms-swift: distil a teacher's reasoning structure into a student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Send warnings to standard error."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


@app.command()
def path() -> None:
    """Print the plugin file's path, for `swift rlhf --external_plugins $(rlkd path)`."""
    typer.echo(Path(__file__).resolve().with_name("register.py"))


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="Format of SRC: gsm8k, openr1-math, openr1-math-sft, openthoughts, gsrm-sft, "
            "or jsonl for our own."
        ),
    ],
    src: Annotated[
        Path, typer.Argument(help="File to read, JSON lines or Parquet, or a folder of them.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write, for --dataset rlkd/jsonl:OUT (gsrm-sft: rlkd/gsrm-sft:OUT)."
        ),
    ],
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core, at most 16.")] = 0,
) -> None:
    """Turn a data set's rows into rows for training, and say which were refused.

    A job that was stopped goes on where it was when the same command is given again.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from rlkd_plugin.rlkd_data.prepare import prepare as run

    columns = SpinnerColumn(), TextColumn("{task.completed:,} rows read"), TimeElapsedColumn()
    terminal = Console(stderr=True)
    quiet = not terminal.is_terminal
    with Progress(*columns, console=terminal, transient=True, disable=quiet) as progress:
        task = progress.add_task("")
        cores = len(os.sched_getaffinity(0))
        done = run(
            *(name, src, out, workers or min(cores, 16)),
            on_progress=lambda rows: progress.update(task, completed=rows),
        )
    table = Table("rows", "")
    table.columns[0].justify = "right"
    table.add_row(str(done.kept), "kept")
    if done.without_solution:
        table.add_row(str(done.without_solution), "of these without a solution to check")
    for reason, count in done.refused.most_common():
        table.add_row(str(count), f"refused: {reason}")
    Console(markup=False, highlight=False).print(table)
    typer.echo(f"written to {out}")


@app.command()
def curves(
    run: Annotated[Path, typer.Argument(help="output_dir of a run, or one of its v*-* folders.")],
) -> None:
    """Show a run's rewards step by step, and draw them into the run's folder."""
    from rich.console import Console

    from rlkd_plugin.rlkd_eval.run_curves import show

    show(run, Console(markup=False, highlight=False))


@app.command()
def check() -> None:
    """Ask the GSRM and the judge that the RLKD_ variables name, and say which to change."""
    import asyncio

    from rlkd_plugin.llm_io.check import check_servers
    from rlkd_plugin.llm_io.settings import load_settings, unknown_variables

    settings = load_settings()
    for name in unknown_variables():
        typer.echo(f"look   {name} is set, but no setting has this name")
    if settings.engine == "rules":
        typer.echo("ok     RLKD_ENGINE=rules needs no server (a stand-in for a GSRM and a judge)")
        return

    async def findings() -> list[str]:
        verdicts = []
        async for finding in check_servers(settings):
            typer.echo(f"{finding.verdict:<6} {finding.text}")
            verdicts.append(finding.verdict)
        return verdicts

    if "wrong" in asyncio.run(findings()):
        raise typer.Exit(1)


if __name__ == "__main__":  # for a clone that is not installed: python -m rlkd_plugin.rlkd_cli
    app()
