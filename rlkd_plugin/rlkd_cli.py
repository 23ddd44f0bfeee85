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

    from rlkd_plugin.llm_io.engine_choice import choose_engine
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.job_progress import Cost, job_shown
    from rlkd_plugin.rlkd_data.job_tables import show_structure
    from rlkd_plugin.rlkd_data.teacher_structures import StructureReport, write_structures

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

    from rlkd_plugin.llm_io.engine_choice import choose_engine
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_eval.judge_check import PAIRS, judged, read_pairs, show

    settings = load_settings()
    known = read_pairs(pairs or PAIRS)
    engine, _ = choose_engine(settings, ["judge"])
    console = Console(markup=False, highlight=False)
    show(asyncio.run(judged(known, engine)), settings.judge_threshold, console, wrong)


@app.command(name="eval")
def evaluate(
    out: Annotated[Path, typer.Argument(help="Folder of the evaluation; it goes on there.")],
    model: Annotated[
        str, typer.Option(help="Folder or id of the model; it is served meanwhile.")
    ] = "",
    adapter: Annotated[str, typer.Option(help="Folder of a LoRA for it.")] = "",
    url: Annotated[str, typer.Option(help="A server that runs already, with /v1.")] = "",
    served: Annotated[str, typer.Option(help="The model's name on that server.")] = "model",
    key_env: Annotated[str, typer.Option(help="Name of the variable with its API key.")] = "",
    server_options: Annotated[str, typer.Option(help="More options of vllm or swift deploy.")] = "",
    sets: Annotated[
        str, typer.Option(help="Of aime24, math500, gpqa_diamond, gsm8k.")
    ] = "aime24,math500,gpqa_diamond",
    data: Annotated[
        list[str] | None, typer.Option(help="SET=FILE: a local copy of its problems.")
    ] = None,
    samples: Annotated[
        list[str] | None, typer.Option(help="SET=M responses a problem; the paper: 64, 4 and 8.")
    ] = None,
    limit: Annotated[int, typer.Option(help="First problems of each set; 0 for all.")] = 0,
    temperature: Annotated[float, typer.Option(help="The paper: 0.6.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="The paper: 0.95.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="New tokens; the paper: 32768.")] = 32768,
    system: Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests in flight.")] = 64,
    label: Annotated[str, typer.Option(help="Name in tables; else the model's.")] = "",
    run: Annotated[str, typer.Option(help="Training it belongs to: one line in a report.")] = "",
    rescore: Annotated[bool, typer.Option("--rescore", help="Score again, draw nothing.")] = False,
) -> None:
    """Evaluate by evalscope: m responses a problem, pass@1 and pass@k with their uncertainty.

    An evaluation that was stopped goes on where it was when the same command is given again.
    """
    from contextlib import nullcontext
    from urllib.parse import urlsplit

    from rlkd_plugin.llm_io.model_server import Served, model_server
    from rlkd_plugin.rlkd_eval.eval_table import show_results
    from rlkd_plugin.rlkd_eval.evaluation import (
        Sampling,
        Server,
        begun_evaluation,
        evaluate_set,
        prepare_evaluation,
        subject_of,
    )

    if rescore:
        subject, drawn, names = begun_evaluation(out)
    elif not (model or url):
        raise RlkdError("name a --model to serve, or the --url of a server that runs")
    elif "@" in urlsplit(url).netloc:
        raise RlkdError("--url must not hold a key; name a variable in --key-env")
    else:
        names = [name.strip() for name in sets.split(",") if name.strip()]
        counts = {name: int(count) for name, count in _pairs(samples, "--samples")}
        drawn = Sampling(temperature, top_p, max_tokens, _system(system), limit, counts or None)
        subject = subject_of(label, model or f"{served} at {url}", adapter, run)
        files = {name: Path(file) for name, file in _pairs(data, "--data")}
        prepare_evaluation(out, subject, drawn, names, files)
    if key_env and not os.environ.get(key_env):
        raise RlkdError(f"--key-env {key_env}: there is no such variable, or it is empty")
    there = nullcontext(Served(url, served)) if rescore or url else None
    with there or model_server(model, adapter, server_options, out / "server.log") as found:
        server = None if rescore else Server(found.url, found.name, key_env)
        for name in names:
            evaluate_set(out, name, subject, drawn, server, concurrency)
    show_results([out], _wide_console())


@app.command()
def eval_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd eval`.")],
) -> None:
    """Show evaluations side by side, in the layout of the paper's table 1."""
    from rlkd_plugin.rlkd_eval.eval_table import show_results

    show_results(folders, _wide_console())


@app.command()
def diversity(
    out: Annotated[Path, typer.Argument(help="Folder of one model's results; it goes on there.")],
    rows: Annotated[Path, typer.Argument(help="Questions: rows with problem and domain.")],
    model: Annotated[
        str, typer.Option(help="Model to serve meanwhile; else RLKD_STUDENT_...")
    ] = "",
    adapter: Annotated[str, typer.Option(help="Folder of a LoRA for it.")] = "",
    server_options: Annotated[str, typer.Option(help="More options of vllm or swift deploy.")] = "",
    embed_model: Annotated[
        str, typer.Option(help="A local sentence-transformers model; else RLKD_EMBED_BASE_URL.")
    ] = "",
    samples: Annotated[int, typer.Option(min=2, help="Responses a question; the paper: 16.")] = 16,
    temperature: Annotated[float, typer.Option(help="The paper: 0.8.")] = 0.8,
    count: Annotated[int, typer.Option(help="Questions; the paper: 500; 0 for all.")] = 500,
    seed: Annotated[int, typer.Option(help="By which the questions are drawn.")] = 42,
    max_tokens: Annotated[int, typer.Option(help="New tokens of a response.")] = 32768,
    system: Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")] = "",
    label: Annotated[str, typer.Option(help="Name in tables; else the folder's.")] = "",
) -> None:
    """Measure how much the steps of a model's responses to one question differ (figure 5).

    A job that was stopped goes on where it was when the same command is given again.
    """
    import asyncio
    from contextlib import nullcontext

    from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
    from rlkd_plugin.llm_io.model_server import model_server
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
    from rlkd_plugin.rlkd_eval.diversity_job import (
        Drawing,
        draw_all,
        engine_name,
        measure_all,
    )
    from rlkd_plugin.rlkd_eval.diversity_table import show_diversity
    from rlkd_plugin.rlkd_eval.kept_files import keep_plan

    settings = load_settings()
    drawing = Drawing(samples, temperature, max_tokens, _system(system), count, seed)
    embedder = LocalEmbedder(embed_model) if embed_model else ServerEmbedder(settings)
    student = {"model": model or settings.student_model, "adapter": adapter}
    keep_plan(out, {**student, **vars(drawing), "engine": engine_name(settings)})
    served = model_server(model, adapter, server_options, out / "server.log") if model else None
    with served or nullcontext() as found:  # its device is free again for the embeddings
        asked = settings
        if found:
            update = {"student_base_url": (found.url,), "student_model": found.name}
            asked = settings.model_copy(update=update)
        asyncio.run(draw_all(out, rows, drawing, asked))
    asyncio.run(measure_all(out, rows, drawing, label or out.name, settings, embedder))
    show_diversity([out], _wide_console())


@app.command()
def diversity_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd diversity`.")],
) -> None:
    """Show the diversity of several models side by side, step by step."""
    from rlkd_plugin.rlkd_eval.diversity_table import show_diversity

    show_diversity(folders, _wide_console())


def _wide_console() -> Any:
    """Return a console for wide tables: in a narrow terminal lines wrap, but no number is cut."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False, width=max(160, Console().width))


def _pairs(given: list[str] | None, option: str) -> list[tuple[str, str]]:
    """Return the name and value of each NAME=VALUE."""
    parts = [text.partition("=") for text in given or []]
    for name, _, value in parts:
        if not value or (option == "--samples" and not value.isdecimal()):
            raise RlkdError(f"{option} {name}: give SET=VALUE, for example {option} aime24=64")
    return [(name, value) for name, _, value in parts]


def _system(text: str) -> str:
    if text != "r1":
        return text
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM

    return R1_SYSTEM


@app.command()
def curves(
    run: Annotated[Path, typer.Argument(help="output_dir of a run, or one of its v*-* folders.")],
) -> None:
    """Show a run's rewards step by step, and draw them into the run's folder."""
    from rich.console import Console

    from rlkd_plugin.rlkd_eval.run_curves import show

    show(run, Console(markup=False, highlight=False))


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of runs, evaluations, diversity files."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write; else report.html in the first folder.")
    ] = None,
) -> None:
    """Write one page of HTML: curves, health, evaluations, and steps aligned with the teacher's."""
    from rlkd_plugin.rlkd_eval.report.report import write_report

    page, remarks = write_report(runs, out)
    for remark in remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"written to {page}")


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
