"""The commands that test a GSRM and a judge before a run depends on them."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def check() -> None:
    """Test the GSRM and the judge of the RLKD_ variables, and say which variable to change."""
    from rlkd_plugin.llm_io.settings import load_settings, unknown_variable_warnings
    from rlkd_plugin.rlkd_eval.check import check_engine
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    for warning in unknown_variable_warnings():
        typer.echo(f"look   {warning}")
    if settings.engine == "rules":
        typer.echo("ok     RLKD_ENGINE=rules needs no server (a stand-in for a GSRM and a judge)")
        return
    engine, _ = choose_engine(settings)

    async def show_findings() -> list[str]:
        verdicts = []
        async for finding in check_engine(engine):
            typer.echo(f"{finding.verdict:<6} {finding.text}")
            verdicts.append(finding.verdict)
        return verdicts

    if "wrong" in asyncio.run(show_findings()):
        raise typer.Exit(1)


def judge_check(
    pairs: Annotated[
        Path | None,
        typer.Argument(help="Pairs of your own: field, first, second, match, and domain."),
    ] = None,
    wrong: Annotated[int, typer.Option(help="Wrong verdicts to show.")] = 10,
    swap: Annotated[
        bool,
        typer.Option(help="Ask each pair both ways, as RLKD_JUDGE_SWAP does: twice the requests."),
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
    one_way = settings.model_copy(update={"judge_swap": False})  # each way is measured alone
    engine, _ = choose_engine(one_way, ["judge"])
    found = asyncio.run(judge_pairs(known, engine, swap=swap))
    show_judge(found, settings.judge_threshold, plain_console(), wrong, mean=settings.judge_swap)
