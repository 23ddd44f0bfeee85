"""The commands that measure the diversity of a model's responses."""

from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.rlkd_cli.embedding_options import TrustRemoteCode
from rlkd_plugin.rlkd_cli.eval_options import (
    Snapshots,
    Steps,
    WithBase,
    check_alone,
    said_when_stopped,
    system_prompt,
)
from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable
from rlkd_plugin.rlkd_cli.template_option import Template, prompting_of, serve


def diversity(
    out: Annotated[Path, typer.Argument(help="Folder of one model's results, new or stopped.")],
    rows: Annotated[Path, typer.Argument(help="Questions: rows with problem and domain.")],
    model: Annotated[
        str, typer.Option(help="Model to serve and measure; default: RLKD_STUDENT_...")
    ] = "",
    adapter: Annotated[str, typer.Option(help="Folder of a LoRA for it.")] = "",
    server_options: Annotated[str, typer.Option(help="More options of vllm or swift deploy.")] = "",
    embed_model: Annotated[
        str, typer.Option(help="A local sentence-transformers model; default: RLKD_EMBED_BASE_URL.")
    ] = "",
    trust_remote_code: TrustRemoteCode = False,
    samples: Annotated[
        int, typer.Option(min=2, help="Responses per question; the paper: 16.")
    ] = 16,
    temperature: Annotated[float, typer.Option(help="The paper: 0.8.")] = 0.8,
    count: Annotated[int, typer.Option(help="Questions; the paper: 500; 0 for all.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the drawing of questions.")] = 42,
    max_tokens: Annotated[int, typer.Option(help="New tokens per response.")] = 32768,
    system: Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")] = "",
    template: Template = "auto",
    label: Annotated[str, typer.Option(help="Name in tables; default: the folder's.")] = "",
    snapshots: Snapshots = None,
    steps: Steps = "",
    with_base: WithBase = False,
) -> None:
    """Measure how much the steps of a model's responses to one question differ (figure 5).

    Give the same command again to resume a stopped job, or to measure new snapshots.
    """
    from rlkd_plugin.llm_io.prompted_engine import body_digest
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.llm_io.weight_fingerprint import weights_of
    from rlkd_plugin.rlkd_cli.each_model import each_model, models_of
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity
    from rlkd_plugin.rlkd_data.embedder import choose_embedder
    from rlkd_plugin.rlkd_data.embedding_check import check_early
    from rlkd_plugin.rlkd_eval.diversity_job import (
        WRITTEN,
        check_structures,
        draw_all,
        measure_all,
    )
    from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing, read_questions
    from rlkd_plugin.rlkd_eval.finished import is_measured
    from rlkd_plugin.rlkd_eval.plans import Plan, claimed_folder, keep_plan
    from rlkd_plugin.rlkd_eval.run_models import RunModel
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine
    from rlkd_plugin.swift_hooks.local.device_memory import free_device_memory

    if snapshots:
        check_alone({"--adapter": adapter, "--label": label})
    else:
        check_alone({"--steps": steps, "--with-base": with_base}, needs="--snapshots")
    settings = load_settings()
    prompting = prompting_of(template, model, adapter, snapshots)
    prompt = system_prompt(system) or prompting.system
    drawing = Drawing(samples, temperature, max_tokens, prompt, count, seed)
    embedder = choose_embedder(settings, embed_model, trust_remote_code=trust_remote_code)
    engine, _ = choose_engine(settings, ["GSRM"])  # a missing setting is named before any work
    questions = read_questions(DiversityJob(out, rows, drawing, ""))

    def free() -> None:
        """Leave the device to the next server; an embedding server has its own."""
        if embed_model:
            free_device_memory()

    @cache
    def check_embeddings() -> None:
        run_stoppable(check_early(embedder))
        free()

    def measure(folder: Path, name: str, student: tuple[str, str], anew: bool) -> bool:
        """Measure a model, or return False where that is done and need not be done anew."""
        job = DiversityJob(folder, rows, drawing, name)
        served = {"model": student[0] or settings.student_model, "adapter": student[1]}
        plan = {**served, **weights_of(*student), **vars(drawing)}
        if settings.student_body:  # it may hold what no file should show
            plan["body"] = body_digest(settings.student_body)
        if prompting.template:
            plan["template"] = prompting.template
        with claimed_folder(folder):
            keep_plan(folder, Plan("rlkd diversity", plan), WRITTEN)
            if not anew and is_measured(folder, embedder.name):
                return False
            check_structures(job)
            check_embeddings()  # once, before hours of drawing
            log = folder / "server.log"
            server = nullcontext()
            if student[0]:
                server = serve(*student, server_options, log, prompting)
            with server as found:  # its device is free again for the embeddings
                update = {}
                if found:
                    update = {"student_base_url": (found.url,), "student_model": found.name}
                run_stoppable(draw_all(job, questions, settings.model_copy(update=update)))
            run_stoppable(measure_all(job, questions, engine, embedder, settings.concurrency))
            free()
        return True

    def one_of_run(folder: Path, one: RunModel) -> bool:
        return measure(folder, one.label, (one.model, one.adapter), anew=False)

    with said_when_stopped(out):
        if snapshots:
            found = models_of(snapshots, steps, model, with_base)
            folders = each_model(found, out, one_of_run)
        else:
            measure(out, label or out.name, (model, adapter), anew=True)
            folders = [out]
    show_diversity(folders, wide_console())


def diversity_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd diversity`.")],
) -> None:
    """Show the diversity of several models side by side, step by step."""
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity

    show_diversity(folders, wide_console())
