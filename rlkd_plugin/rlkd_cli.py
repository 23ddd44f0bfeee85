"""The `rlkd` command: what a user does beside `swift`.

A command imports what it needs when it runs, so that `rlkd path` inside another command line
costs milliseconds.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    from rich.table import Table

    from rlkd_plugin.rlkd_data.prepare import prepare as run

    workers = workers or min(len(os.sched_getaffinity(0)), 16)
    with _rows_shown("rows read") as advance:
        done = run(name, src, out, workers, on_progress=advance)
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

    from rich.console import Console
    from rich.table import Table

    from rlkd_plugin.llm_io.paced_client import PacedClient
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.construct import ConstructReport, construct_pairs

    part = _part(shard)
    prices = [_price(text) for text in (generator_price, verifier_price)]
    settings = load_settings()
    generator, verifier = (PacedClient(role, settings) for role in ("generator", "verifier"))

    async def work() -> ConstructReport:
        with _rows_shown() as advance:
            async with generator, verifier:
                return await construct_pairs(
                    *(src, out, generator, verifier),
                    concurrency=settings.concurrency,
                    generator_tokens=settings.generator_max_tokens,
                    verifier_tokens=settings.verifier_max_tokens,
                    shard=part,
                    on_progress=advance,
                )

    found = asyncio.run(work())
    table = Table("domain", "rows", "")
    table.columns[1].justify = "right"
    for (domain, attempt), count in sorted(found.accepted.items()):
        table.add_row(domain, str(count), f"accepted at attempt {attempt}")
    for (domain, reason), count in sorted(found.discarded.items()):
        table.add_row(domain, str(count), f"discarded: {reason}")
    for reason, count in found.refused.most_common():
        table.add_row("", str(count), f"refused: {reason}")
    if found.done_before:
        table.add_row("", str(found.done_before), "done before")
    if found.again:
        table.add_row("", str(found.again), "the same as another row")
    Console(markup=False, highlight=False).print(table)
    for client, price in zip((generator, verifier), prices, strict=True):
        usage = client.usage
        cost = ""
        if price:
            money = (usage.prompt_tokens * price[0] + usage.completion_tokens * price[1]) / 1e6
            cost = f", cost {money:.2f}"
        typer.echo(
            f"{client.client.endpoint.role}: {usage.requests} requests, {usage.retries} retries, "
            f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out{cost}"
        )
    typer.echo(f"written to {out}")


def _part(shard: str) -> tuple[int, int]:
    import re

    parts = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]):
        raise RlkdError(f"--shard {shard} is none; give i/n with i from 1 to n, for example 2/4")
    return int(parts[1]), int(parts[2])


def _price(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        price_in, price_out = map(float, text.split(","))
    except ValueError:
        raise RlkdError(f"{text!r} is no price: give IN,OUT, for example 2.5,10") from None
    return price_in, price_out


@contextmanager
def _rows_shown(what: str = "rows") -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many rows are done; yields what is called with the number."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn(f"{{task.completed:,}} {what}"), TimeElapsedColumn()
    quiet = not terminal.is_terminal
    with Progress(*columns, console=terminal, transient=True, disable=quiet) as progress:
        task = progress.add_task("")
        yield lambda number: progress.update(task, completed=number)


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
    import time

    from rich.console import Console
    from rich.table import Table

    from rlkd_plugin.llm_io.engine_choice import choose_engine
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.teacher_structures import StructureReport, write_structures

    part = _part(shard)
    settings = load_settings()
    engine, cache = choose_engine(settings)

    async def work() -> StructureReport:
        with _rows_shown() as advance:
            async with engine:
                return await write_structures(
                    *(src, out, engine, cache),
                    concurrency=settings.concurrency,
                    shard=part,
                    on_progress=advance,
                )

    begin = time.monotonic()
    found = asyncio.run(work())
    table = Table("rows", "")
    table.columns[0].justify = "right"
    table.add_row(str(found.written), f"written, {found.steps} steps, {found.from_cache} known")
    if found.done_before:
        table.add_row(str(found.done_before), "done before")
    if found.again:
        table.add_row(str(found.again), "the same as another row")
    for reason, count in found.dropped.items():
        table.add_row(str(count), f"dropped: {reason}")
    for reason, count in found.refused.items():
        table.add_row(str(count), f"refused: {reason}")
    Console(markup=False, highlight=False).print(table)
    usage = engine.usage
    typer.echo(
        f"{usage.requests} requests, {usage.retries} retries, {usage.prompt_tokens} tokens in, "
        f"{usage.completion_tokens} out, {time.monotonic() - begin:.0f} s"
    )
    typer.echo(f"written to {out}")


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

    from rich.console import Console
    from rich.table import Table

    from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
    from rlkd_plugin.rlkd_data.row_subset import NEAR, SubsetReport, write_subset

    embedder = LocalEmbedder(model) if model else ServerEmbedder(load_settings())

    async def work() -> SubsetReport:
        with _rows_shown("problems") as advance:
            async with embedder:
                return await write_subset(
                    *(src, tests, out, count, embedder),
                    concurrency=1 if model else 8,
                    on_progress=advance,
                )

    found = asyncio.run(work())
    console = Console(markup=False, highlight=False)
    for title, rows in (
        ("least similar", found.least),
        ("most similar", found.most),
        ("the same as a test item", found.exact[:20]),
        (f"nearly the same ({NEAR} or more)", found.near[:20]),
    ):
        if rows:
            table = Table("cosine", "problem", "nearest test item", title=title)
            for row in rows:
                texts = (" ".join(text.split())[:120] for text in (row.problem, row.test_problem))
                table.add_row(f"{row.similarity:.4f}", *texts)
            console.print(table)
    typer.echo(
        f"{found.rows} rows, {found.problems} different problems, {found.without_problem} rows "
        f"without one; {found.measured_before} were measured before"
    )
    typer.echo(f"{len(found.exact)} are the same as a test item, {len(found.near)} nearly the same")
    typer.echo(f"{found.written} rows written to {out}")


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
