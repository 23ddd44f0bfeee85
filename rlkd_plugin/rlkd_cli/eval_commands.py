"""The commands that evaluate a model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable


def evaluate(
    out: Annotated[Path, typer.Argument(help="Folder of the evaluation, new or stopped.")],
    model: Annotated[
        str, typer.Option(help="Folder or id of the model to serve and evaluate.")
    ] = "",
    adapter: Annotated[str, typer.Option(help="Folder of a LoRA for it.")] = "",
    url: Annotated[str, typer.Option(help="URL of a running server, with /v1.")] = "",
    served: Annotated[str, typer.Option(help="The model's name on that server.")] = "model",
    key_env: Annotated[str, typer.Option(help="Name of the variable with its API key.")] = "",
    server_options: Annotated[str, typer.Option(help="More options of vllm or swift deploy.")] = "",
    sets: Annotated[
        str, typer.Option(help="Any of aime24, math500, gpqa_diamond, gsm8k.")
    ] = "aime24,math500,gpqa_diamond",
    data: Annotated[
        list[str] | None, typer.Option(help="SET=FILE: a local copy of its problems.")
    ] = None,
    samples: Annotated[
        list[str] | None, typer.Option(help="SET=M: responses per problem; the paper: 64, 4 and 8.")
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Number of problems per set, from the first; 0 for all.")
    ] = 0,
    temperature: Annotated[float, typer.Option(help="The paper: 0.6.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="The paper: 0.95.")] = 0.95,
    max_tokens: Annotated[
        int, typer.Option(help="New tokens per response; the paper: 32768.")
    ] = 32768,
    system: Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests in flight.")] = 64,
    label: Annotated[str, typer.Option(help="Name in tables; default: the model's.")] = "",
    run: Annotated[
        str, typer.Option(help="Training run it belongs to: one line in a report.")
    ] = "",
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the saved responses anew, draw none.")
    ] = False,
) -> None:
    """Evaluate with evalscope: m responses per problem, pass@1 and pass@k with their uncertainty.

    Give the same command again to resume a stopped evaluation.
    """
    from rlkd_plugin.llm_io.model_server import ServedModel, model_server
    from rlkd_plugin.llm_io.weight_fingerprint import weights_of
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.eval_table import show_results
    from rlkd_plugin.rlkd_eval.evaluation import Server, evaluate_set
    from rlkd_plugin.rlkd_eval.evaluation_plan import (
        EvaluationJob,
        Sampling,
        describe_subject,
        prepare_evaluation,
        resume_evaluation,
    )
    from rlkd_plugin.rlkd_eval.plans import claimed_folder

    _check_server(url, model, key_env, rescore)
    with claimed_folder(out), _said_when_stopped(out):
        if rescore:
            job = resume_evaluation(out)
        else:
            names = [name.strip() for name in sets.split(",") if name.strip()]
            counts = {name: int(count) for name, count in _read_pairs(samples, "--samples")}
            drawn = Sampling(
                temperature, top_p, max_tokens, _system_prompt(system), limit, counts or None
            )
            if model:
                subject = describe_subject(label, model, adapter, run)
            else:
                subject = describe_subject(label, f"{served} at {url}", adapter, run, served)
            job = EvaluationJob(out, subject, drawn, names)
            files = {name: Path(file) for name, file in _read_pairs(data, "--data")}
            prepare_evaluation(job, files, {} if url else weights_of(model, adapter))
        there = nullcontext(ServedModel(url, served)) if rescore or url else None
        with there or model_server(model, adapter, server_options, out / "server.log") as found:
            server = None if rescore else Server(found.url, found.name, key_env)
            for name in job.names:
                evaluate_set(job, name, server, concurrency)
    show_results([out], wide_console())


def eval_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd eval`.")],
) -> None:
    """Show evaluations side by side, in the layout of the paper's table 1."""
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.eval_table import show_results

    show_results(folders, wide_console())


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
    samples: Annotated[
        int, typer.Option(min=2, help="Responses per question; the paper: 16.")
    ] = 16,
    temperature: Annotated[float, typer.Option(help="The paper: 0.8.")] = 0.8,
    count: Annotated[int, typer.Option(help="Questions; the paper: 500; 0 for all.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the drawing of questions.")] = 42,
    max_tokens: Annotated[int, typer.Option(help="New tokens per response.")] = 32768,
    system: Annotated[str, typer.Option(help="A system prompt; `r1` for the recipes' own.")] = "",
    label: Annotated[str, typer.Option(help="Name in tables; default: the folder's.")] = "",
) -> None:
    """Measure how much the steps of a model's responses to one question differ (figure 5).

    Give the same command again to resume a stopped job.
    """
    from rlkd_plugin.llm_io.model_server import model_server
    from rlkd_plugin.llm_io.prompted_engine import body_digest
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.llm_io.weight_fingerprint import weights_of
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity
    from rlkd_plugin.rlkd_data.embedder import choose_embedder
    from rlkd_plugin.rlkd_eval.diversity_job import (
        WRITTEN,
        check_structures,
        draw_all,
        measure_all,
    )
    from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing, read_questions
    from rlkd_plugin.rlkd_eval.plans import Plan, claimed_folder, keep_plan
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    drawing = Drawing(samples, temperature, max_tokens, _system_prompt(system), count, seed)
    job = DiversityJob(out, rows, drawing, label or out.name)
    embedder = choose_embedder(settings, embed_model)
    student = {"model": model or settings.student_model, "adapter": adapter}
    plan = {**student, **weights_of(model, adapter), **vars(drawing)}
    if settings.student_body:  # it may hold what no file should show
        plan["body"] = body_digest(settings.student_body)
    engine, _ = choose_engine(settings, ["GSRM"])  # a missing setting is named before any work
    questions = read_questions(job)
    with claimed_folder(out), _said_when_stopped(out):
        keep_plan(out, Plan("rlkd diversity", plan), WRITTEN)
        check_structures(job)
        served = model_server(model, adapter, server_options, out / "server.log") if model else None
        with served or nullcontext() as found:  # its device is free again for the embeddings
            student_settings = settings
            if found:
                update = {"student_base_url": (found.url,), "student_model": found.name}
                student_settings = settings.model_copy(update=update)
            run_stoppable(draw_all(job, questions, student_settings))
        run_stoppable(measure_all(job, questions, engine, embedder, settings.concurrency))
    show_diversity([out], wide_console())


def diversity_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd diversity`.")],
) -> None:
    """Show the diversity of several models side by side, step by step."""
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity

    show_diversity(folders, wide_console())


def _check_server(url: str, model: str, key_env: str, rescore: bool) -> None:
    """Check that a server is named, and that no key stands where it would be written to a file.

    Raises:
        RlkdError: if not.
    """
    from rlkd_plugin.llm_io.server_urls import check_url

    if not (rescore or model or url):
        raise RlkdError("name a --model to serve, or the --url of a server that runs")
    if url:
        try:
            check_url(url, "--key-env")
        except FormatError as error:
            raise RlkdError(f"--url {error}") from None
    if key_env and not os.environ.get(key_env, "").strip():
        shown = f" {key_env}" if key_env.isupper() else ""  # it may be the key itself
        raise RlkdError(
            f"--key-env{shown}: there is no such variable, or it is empty; give the name of the "
            "variable that holds the key"
        )


@contextmanager
def _said_when_stopped(out: Path) -> Iterator[None]:
    """Say how to go on, if Ctrl-C or SIGTERM ends the body."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {out} keeps what is done, and the same command goes on there")
        raise


def _read_pairs(given: list[str] | None, option: str) -> list[tuple[str, str]]:
    """Return the name and value of each NAME=VALUE.

    Raises:
        RlkdError: if a text is not of this form.
    """
    parts = [text.partition("=") for text in given or []]
    for name, _, value in parts:
        if not value or (option == "--samples" and not value.isdecimal()):
            raise RlkdError(f"{option} {name}: give SET=VALUE, for example {option} aime24=64")
    return [(name, value) for name, _, value in parts]


def _system_prompt(text: str) -> str:
    if text != "r1":
        return text
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM

    return R1_SYSTEM
