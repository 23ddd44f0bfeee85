"""The commands that show runs: `rlkd curves` and `rlkd report`."""

from pathlib import Path
from typing import Annotated

import typer


def curves(
    run: Annotated[Path, typer.Argument(help="output_dir of a run, or one of its v*-* folders.")],
) -> None:
    """Show a run's rewards step by step, and draw them into the run's folder."""
    from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
    from rlkd_plugin.rlkd_eval.run_curves import show

    show(run, plain_console())


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of runs and of results."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: report.html in the first folder.")
    ] = None,
) -> None:
    """Write one HTML page: curves, health, evaluations, and steps aligned with the teacher's."""
    from rlkd_plugin.rlkd_eval.report.report import write_report

    page, remarks = write_report(runs, out)
    for remark in remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"written to {page}")
