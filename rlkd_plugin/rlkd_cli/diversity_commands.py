"""The commands that measure the diversity of a model's responses."""

from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.rlkd_cli.embedding_options import TrustRemoteCode
from rlkd_plugin.rlkd_cli.eval_options import (
    Adapter,
    ServerOptions,
    Snapshots,
    Steps,
    System,
    WithBase,
    check_snapshot_options,
    report_stop,
    system_prompt,
)
from rlkd_plugin.rlkd_cli.template_option import Template, select_prompting


def diversity(
    out: Annotated[Path, typer.Argument(help="Folder of one model's results, new or stopped.")],
    rows: Annotated[Path, typer.Argument(help="Questions: rows with problem and domain.")],
    model: Annotated[
        str, typer.Option(help="Model to serve and measure; default: RLKD_STUDENT_...")
    ] = "",
    adapter: Adapter = "",
    server_options: ServerOptions = "",
    embed_model: Annotated[
        str, typer.Option(help="A local sentence-transformers model; default: RLKD_EMBED_BASE_URL.")
    ] = "",
    trust_remote_code: TrustRemoteCode = False,
    samples: Annotated[
        int, typer.Option(min=2, help="Responses per question; the paper: 16.")
    ] = 16,
    temperature: Annotated[float, typer.Option(help="The paper: 0.8.")] = 0.8,
    count: Annotated[
        int, typer.Option(help="Number of questions; the paper: 500; 0 for all.")
    ] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the choice of questions.")] = 42,
    max_tokens: Annotated[int, typer.Option(help="New tokens per response.")] = 32768,
    system: System = "",
    template: Template = "auto",
    label: Annotated[str, typer.Option(help="Name in tables; default: the folder's.")] = "",
    snapshots: Snapshots = None,
    steps: Steps = "",
    with_base: WithBase = False,
) -> None:
    """Measure how much the steps of a model's responses to one question differ (figure 5).

    Give the same command again to resume a stopped job, or to measure new snapshots.
    """
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.diversity_meter import DiversityMeter
    from rlkd_plugin.rlkd_cli.each_model import each_model, models_of
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity
    from rlkd_plugin.rlkd_data.embedder import choose_embedder
    from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing, read_questions
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    of_one_model = {"--adapter": adapter, "--label": label}
    check_snapshot_options(snapshots, steps, with_base, of_one_model)
    settings = load_settings()
    prompting = select_prompting(template, model, adapter, snapshots)
    prompt = system_prompt(system) or prompting.system
    drawing = Drawing(samples, temperature, max_tokens, prompt, count, seed)
    embedder = choose_embedder(settings, embed_model, trust_remote_code=trust_remote_code)
    engine, _ = choose_engine(settings, ["GSRM"])  # a missing setting is named before any work
    meter = DiversityMeter(
        source=rows,
        questions=read_questions(DiversityJob(out, rows, drawing, "")),
        drawing=drawing,
        settings=settings,
        engine=engine,
        embedder=embedder,
        embeds_here=bool(embed_model),
        prompting=prompting,
        server_options=server_options,
    )
    folders = [out]
    with report_stop(out):
        if snapshots:
            models = models_of(snapshots, steps, model, with_base)
            folders = each_model(models, out, meter.measure_snapshot)
        else:
            meter.measure(out, label or out.name, model, adapter)
    show_diversity(folders, wide_console())


def diversity_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd diversity`.")],
) -> None:
    """Show the diversity of several models side by side, step by step."""
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity

    show_diversity(folders, wide_console())
