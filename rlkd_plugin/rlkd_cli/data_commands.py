"""The commands of the data jobs."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli.embedding_options import TrustRemoteCode
from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable

if TYPE_CHECKING:
    from rlkd_plugin.rlkd_data.jobs.data_job import Shard

MIX = "Resume an OUT that was made with other settings; each line then names its maker."


def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="Format of SRC: gsm8k, openr1-math, openr1-math-sft, openthoughts, gsrm-sft, "
            "or jsonl for our own."
        ),
    ],
    src: Annotated[
        Path,
        typer.Argument(help="File to read: JSON lines, a JSON array, CSV or Parquet; or a folder."),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write, for --dataset rlkd/jsonl:OUT (gsrm-sft: rlkd/gsrm-sft:OUT)."
        ),
    ],
    workers: Annotated[int, typer.Option(help="Processes; 0 for one per core, at most 16.")] = 0,
    branches: Annotated[
        int,
        typer.Option(
            min=1,
            help="Maximum teacher paths per problem, as the column teacher_branches (openr1-math); "
            "1 for no such column. See RLKD_BRANCHES.",
        ),
    ] = 1,
    teacher_prompt: Annotated[
        bool,
        typer.Option(
            "--teacher-prompt",
            help="Add the column teacher_prompt, for ms-swift's self-distillation. It changes GRPO "
            "too: ms-swift adds --teacher_kl_coef times a teacher's signal.",
        ),
    ] = False,
) -> None:
    """Turn a data set's rows into rows for training, and report which are refused.

    Give the same command again to resume a stopped job.
    """
    from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
    from rlkd_plugin.rlkd_cli.tables.job_tables import show_prepare
    from rlkd_plugin.rlkd_data.jobs.progress import show_progress
    from rlkd_plugin.rlkd_data.prepare import prepare as run

    workers = workers or min(len(os.sched_getaffinity(0)), 16)
    read = 0

    def advance(rows: int) -> None:
        nonlocal read
        read = rows

    try:
        with show_progress(src, lambda: read):
            done = run(
                name,
                src,
                out,
                workers,
                on_progress=advance,
                branches=branches,
                teacher_prompt=teacher_prompt,
            )
    except KeyboardInterrupt:
        typer.echo(f"stopped after {read:,} rows. Give the same command again to resume")
        raise
    show_prepare(done, plain_console())
    typer.echo(done.account.line())
    typer.echo(f"written to {out}")


def construct(
    src: Annotated[
        Path, typer.Argument(help="Rows with problem, domain, reasoning_path: a file, or a folder.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write, for --dataset rlkd/gsrm-sft:OUT.")],
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n parts, one per machine.")] = "1/1",
    mix: Annotated[bool, typer.Option("--mix", help=MIX)] = False,
    generator_price: Annotated[
        str, typer.Option(help="IN,OUT: price of a million tokens, to see the cost.")
    ] = "",
    verifier_price: Annotated[str, typer.Option(help="The same for the verifier.")] = "",
) -> None:
    """Write training data for a GSRM: structures that a generator writes and a verifier passes.

    Give the same command again to resume a stopped job.
    """
    from rlkd_plugin.llm_io.role_client import role_client
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.job_tables import show_construct
    from rlkd_plugin.rlkd_data.construct import ConstructReport, construct_pairs
    from rlkd_plugin.rlkd_data.jobs.cost import Cost, RoleCost, read_price
    from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
    from rlkd_plugin.rlkd_data.jobs.job_end import show_job
    from rlkd_plugin.rlkd_data.pair_attempts import PairModels

    part = _read_shard(shard)
    settings = load_settings()
    generator = role_client("generator", settings)
    verifier = role_client("verifier", settings)
    cost = Cost(
        [
            RoleCost("generator", generator.usage, read_price(generator_price)),
            RoleCost("verifier", verifier.usage, read_price(verifier_price)),
        ]
    )
    job = DataJob(src, out, settings.concurrency, part, mix)
    models = PairModels(
        generator, settings.generator_max_tokens, verifier, settings.verifier_max_tokens
    )
    report = ConstructReport()

    async def work() -> None:
        async with generator, verifier:
            await construct_pairs(job, models, report)

    with show_job(job, report, show_construct, cost):
        run_stoppable(work())


def structure(
    src: Annotated[Path, typer.Argument(help="Rows in our own format: a file, or a folder.")],
    out: Annotated[Path, typer.Argument(help="File to write, for --dataset rlkd/jsonl:OUT.")],
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n parts, one per machine.")] = "1/1",
    mix: Annotated[bool, typer.Option("--mix", help=MIX)] = False,
) -> None:
    """Decompose the teachers' paths before training, with the engine of the settings.

    Give the same command again to resume a stopped job.
    """
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.job_tables import show_structure
    from rlkd_plugin.rlkd_data.jobs.cost import Cost, RoleCost
    from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
    from rlkd_plugin.rlkd_data.jobs.job_end import show_job
    from rlkd_plugin.rlkd_data.teacher_structures import StructureReport, write_structures
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    part = _read_shard(shard)
    settings = load_settings()
    engine, cache = choose_engine(settings, ["GSRM"])
    job = DataJob(src, out, settings.concurrency, part, mix)
    report = StructureReport()

    async def work() -> None:
        async with engine:
            await engine.probe()
            await write_structures(job, engine, cache, report)

    with show_job(job, report, show_structure, Cost([RoleCost("GSRM", engine.usage)])):
        run_stoppable(work())


def subset(
    src: Annotated[Path, typer.Argument(help="Rows to choose from: a file, or a folder.")],
    tests: Annotated[Path, typer.Argument(help="The test set: rows with a problem.")],
    out: Annotated[Path, typer.Argument(help="File to write, JSON lines.")],
    count: Annotated[int, typer.Option(min=1, help="Rows to write; the paper: 3200.")] = 3200,
    model: Annotated[
        str, typer.Option(help="A local sentence-transformers model; default: RLKD_EMBED_BASE_URL.")
    ] = "",
    trust_remote_code: TrustRemoteCode = False,
    mix: Annotated[bool, typer.Option("--mix", help=MIX)] = False,
) -> None:
    """Write the rows whose problems are least similar to those of a test set.

    Give the same command again to resume a stopped job.
    """
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.job_tables import show_subset
    from rlkd_plugin.rlkd_data.embedder import choose_embedder
    from rlkd_plugin.rlkd_data.embedding_check import open_embedder
    from rlkd_plugin.rlkd_data.jobs.cost import Cost, RoleCost
    from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
    from rlkd_plugin.rlkd_data.jobs.job_end import show_job
    from rlkd_plugin.rlkd_data.row_subset import SIMILARITIES, write_subset
    from rlkd_plugin.rlkd_data.subset_report import SubsetReport

    settings = load_settings()
    embedder = choose_embedder(settings, model, trust_remote_code=trust_remote_code)
    concurrency = 1 if model else min(8, settings.concurrency)  # a server's replies have 5 MB
    job = DataJob(src, out, concurrency, mix=mix)
    report = SubsetReport()

    async def work() -> None:
        async with open_embedder(embedder):
            await write_subset(job, tests, count, embedder, report)

    cost = Cost() if model else Cost([RoleCost("embed", embedder.usage)])
    with show_job(job, report, show_subset, cost, kept=job.file_beside(SIMILARITIES)):
        run_stoppable(work())


def merge(
    parts: Annotated[
        list[Path], typer.Argument(help="Results of one command: the OUT of each shard.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
    mix: Annotated[
        bool,
        typer.Option("--mix", help="Merge results of several makers; each line names its maker."),
    ] = False,
) -> None:
    """Merge the results of several shards into one, and reject results of other settings.

    Second files (OUT.dropped.jsonl, OUT.discarded.jsonl) are merged too. The job that made the
    parts can resume with the result.
    """
    from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
    from rlkd_plugin.rlkd_cli.tables.job_tables import show_merge
    from rlkd_plugin.rlkd_data.merge import MergeReport, merge_results

    report = MergeReport()
    merge_results(parts, out, report, mix=mix)
    show_merge(report, plain_console())
    typer.echo(f"written to {out}")


def _read_shard(shard: str) -> "Shard":
    """Read "i/n", a part of a source.

    Raises:
        RlkdError: if it is not of this form.
    """
    from rlkd_plugin.rlkd_data.jobs.data_job import Shard

    parts = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]):
        raise RlkdError(
            f"--shard {shard} is not a shard; give i/n with i from 1 to n, for example 2/4"
        )
    return Shard(int(parts[1]), int(parts[2]))
