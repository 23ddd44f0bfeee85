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
from rlkd_plugin.rlkd_eval.commands import COMMANDS


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
    """Send warnings to standard error, whatever it is then: a bar stands aside for them."""
    logging.basicConfig(format="%(message)s", handlers=[logging.lastResort])


@app.command()
def path() -> None:
    """Print the plugin file's path, for `swift rlhf --external_plugins $(rlkd path)`."""
    typer.echo(Path(__file__).resolve().with_name("register.py"))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def guard(
    command: Annotated[list[str], typer.Argument(help="The command and its options.")],
    server: Annotated[
        bool, typer.Option("--server", help="It serves: that it ends is an error.")
    ] = False,
) -> None:
    """Run a command of a Procfile; when it or the process manager ends, nothing of it is left."""
    from rlkd_plugin.rlkd_guard import guard as run

    raise typer.Exit(run(command, server))  # an OSError ends as one line, with status 1


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

    from rlkd_plugin.rlkd_data.job_progress import progress_shown
    from rlkd_plugin.rlkd_data.job_tables import show_prepare
    from rlkd_plugin.rlkd_data.prepare import prepare as run

    workers = workers or min(len(os.sched_getaffinity(0)), 16)
    read = 0

    def advance(rows: int) -> None:
        nonlocal read
        read = rows

    with progress_shown(src, lambda: read):
        done = run(name, src, out, workers, on_progress=advance)
    show_prepare(done, Console(markup=False, highlight=False))
    typer.echo(f"written to {out}")


@app.command()
def construct(
    src: Annotated[
        Path, typer.Argument(help="Rows with problem, domain, reasoning_path: a file, or a folder.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write, for --dataset rlkd/gsrm-sft:OUT.")],
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n parts, one a machine.")] = "1/1",
    generator_price: Annotated[
        str, typer.Option(help="IN,OUT: money for a million tokens, to see the cost.")
    ] = "",
    verifier_price: Annotated[str, typer.Option(help="The same of the verifier.")] = "",
) -> None:
    """Make training data for a GSRM: structures that a generator writes and a verifier passes.

    A job that was stopped goes on where it was when the same command is given again.
    """
    import asyncio

    from rlkd_plugin.llm_io.role_client import role_client
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.construct import ConstructReport, construct_pairs
    from rlkd_plugin.rlkd_data.job_progress import Cost, job_shown, read_price
    from rlkd_plugin.rlkd_data.job_tables import show_construct

    part = _part(shard)
    prices = {"generator": generator_price, "verifier": verifier_price}
    settings = load_settings()
    generator, verifier = (role_client(role, settings) for role in prices)
    report = ConstructReport()
    cost = Cost(
        {"generator": generator.usage, "verifier": verifier.usage},
        {role: read_price(text) for role, text in prices.items() if text},
    )

    async def work() -> None:
        async with generator, verifier:
            await construct_pairs(
                *(src, out, generator, verifier, report),
                concurrency=settings.concurrency,
                generator_tokens=settings.generator_max_tokens,
                verifier_tokens=settings.verifier_max_tokens,
                shard=part,
            )

    with job_shown(src, out, report, show_construct, cost):
        asyncio.run(work())


def _part(shard: str) -> tuple[int, int]:
    import re

    parts = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]):
        raise RlkdError(f"--shard {shard} is none; give i/n with i from 1 to n, for example 2/4")
    return int(parts[1]), int(parts[2])


@app.command()
def structure(
    src: Annotated[Path, typer.Argument(help="Rows in our own format: a file, or a folder.")],
    out: Annotated[Path, typer.Argument(help="File to write, for --dataset rlkd/jsonl:OUT.")],
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n parts, one a machine.")] = "1/1",
) -> None:
    """Decompose the teachers' paths ahead of training, with the engine that the settings name.

    A job that was stopped goes on where it was when the same command is given again.
    """
    import asyncio

    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.job_progress import Cost, job_shown
    from rlkd_plugin.rlkd_data.job_tables import show_structure
    from rlkd_plugin.rlkd_data.teacher_structures import StructureReport, write_structures
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    part = _part(shard)
    settings = load_settings()
    engine, cache = choose_engine(settings, ["GSRM"])
    report = StructureReport()

    async def work() -> None:
        async with engine:
            await engine.probe()
            await write_structures(
                *(src, out, engine, cache, report),
                concurrency=settings.concurrency,
                shard=part,
            )

    with job_shown(src, out, report, show_structure, Cost({"GSRM": engine.usage})):
        asyncio.run(work())


@app.command()
def subset(
    src: Annotated[Path, typer.Argument(help="Rows to choose from: a file, or a folder.")],
    tests: Annotated[Path, typer.Argument(help="The test set: rows with a problem.")],
    out: Annotated[Path, typer.Argument(help="File to write, JSON lines.")],
    count: Annotated[int, typer.Option(min=1, help="Rows to write; the paper: 3200.")] = 3200,
    model: Annotated[
        str, typer.Option(help="A local sentence-transformers model; else RLKD_EMBED_BASE_URL.")
    ] = "",
) -> None:
    """Write the rows whose problems are least similar to any of a test set.

    A job that was stopped goes on where it was when the same command is given again.
    """
    import asyncio

    from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.job_progress import Cost, job_shown
    from rlkd_plugin.rlkd_data.job_tables import show_subset
    from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
    from rlkd_plugin.rlkd_data.row_subset import SubsetReport, write_subset

    settings = load_settings()
    embedder = LocalEmbedder(model) if model else ServerEmbedder(settings)
    report = SubsetReport()

    async def work() -> None:
        async with embedder:
            await write_subset(
                *(src, tests, out, count, embedder, report),
                concurrency=1 if model else min(8, settings.concurrency),  # replies of 5 MB
            )

    cost = Cost({} if model else {"embed": embedder.client.usage})
    kept = out.with_name(f"{out.name}.similarities.jsonl")
    with job_shown(src, out, report, show_subset, cost, kept=kept):
        asyncio.run(work())


@app.command()
def judge_check(
    pairs: Annotated[
        Path | None,
        typer.Argument(help="Pairs of your own: field, first, second, match, and domain."),
    ] = None,
    wrong: Annotated[int, typer.Option(help="Pairs to show that it gets wrong.")] = 10,
) -> None:
    """Run a judge over labelled pairs: how often is it right, before a run depends on it?"""
    import asyncio

    from rich.console import Console

    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_eval.judge_check import PAIRS, judged, read_pairs, show
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    known = read_pairs(pairs or PAIRS)
    engine, _ = choose_engine(settings, ["judge"])
    console = Console(markup=False, highlight=False)
    show(asyncio.run(judged(known, engine)), settings.judge_threshold, console, wrong)


for name, command in COMMANDS.items():
    app.command(name=name)(command)


@app.command()
def check() -> None:
    """Ask the GSRM and the judge that the RLKD_ variables name, and say which to change."""
    import asyncio

    from rlkd_plugin.llm_io.check import check_engine
    from rlkd_plugin.llm_io.settings import load_settings, unknown_variables
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    for name in unknown_variables():
        typer.echo(f"look   {name} is set, but no setting has this name")
    if settings.engine == "rules":
        typer.echo("ok     RLKD_ENGINE=rules needs no server (a stand-in for a GSRM and a judge)")
        return
    engine, _ = choose_engine(settings)

    async def findings() -> list[str]:
        verdicts = []
        async for finding in check_engine(engine):
            typer.echo(f"{finding.verdict:<6} {finding.text}")
            verdicts.append(finding.verdict)
        return verdicts

    if "wrong" in asyncio.run(findings()):
        raise typer.Exit(1)


if __name__ == "__main__":  # for a clone that is not installed: python -m rlkd_plugin.rlkd_cli
    app()
