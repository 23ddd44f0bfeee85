"""The commands that test a GSRM and a judge before a run depends on them."""

import shutil
import sys
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable

INDENT = 7
"""Columns of the word before a finding."""


def check() -> None:
    """Test the GSRM and the judge of the RLKD_ variables, and name the variable to change."""
    from rlkd_plugin.llm_io.settings import load_settings, unknown_variable_warnings
    from rlkd_plugin.rlkd_eval.check import check_engine
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    for warning in unknown_variable_warnings():
        show_finding("look", warning)
    if settings.engine == "rules":
        typer.echo("ok     RLKD_ENGINE=rules needs no server (a stand-in for a GSRM and a judge)")
        return
    engine, cache = choose_engine(settings)

    async def show_findings() -> list[str]:
        verdicts = []
        async for finding in check_engine(engine, cache):
            show_finding(finding.verdict, finding.line)
            verdicts.append(finding.verdict)
        return verdicts

    verdicts = run_stoppable(show_findings())
    if "wrong" in verdicts:
        typer.echo(
            "rewards would be wrong: correct what is marked `wrong`, then run the check again"
        )
        raise typer.Exit(1)
    if "look" in verdicts:
        typer.echo("rewards would be right; what is marked `look` can be better")


def show_finding(verdict: str, text: str) -> None:
    """Print a finding; in a terminal its lines are wrapped and indented."""
    lines = [text]
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns - INDENT)
        lines = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    typer.echo(f"{verdict:<{INDENT - 1}} " + f"\n{'':<{INDENT}}".join(lines))


def judge_check(
    pairs: Annotated[
        Path | None,
        typer.Argument(help="Pairs of your own: field, first, second, match, and domain."),
    ] = None,
    wrong: Annotated[int, typer.Option(help="Number of wrong verdicts to show.")] = 10,
    swap: Annotated[
        bool,
        typer.Option(
            help="Judge each pair in both orders, as RLKD_JUDGE_SWAP does: twice the requests."
        ),
    ] = True,
) -> None:
    """Measure a judge on labelled pairs before a run depends on it."""
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
    from rlkd_plugin.rlkd_cli.tables.judge_table import show_judge
    from rlkd_plugin.rlkd_eval.judge_check import PAIRS, judge_pairs, read_pairs
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    known = read_pairs(pairs or PAIRS)
    one_way = settings.model_copy(update={"judge_swap": False})  # each order is measured alone
    engine, _ = choose_engine(one_way, ["judge"])
    found = run_stoppable(judge_pairs(known, engine, swap=swap))
    show_judge(found, settings.judge_threshold, plain_console(), wrong, mean=settings.judge_swap)
