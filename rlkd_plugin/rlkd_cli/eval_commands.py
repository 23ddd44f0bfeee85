"""The commands that evaluate a model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import FormatError, RlkdError
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


def evaluate(
    out: Annotated[Path, typer.Argument(help="Folder of the evaluation, new or stopped.")],
    model: Annotated[
        str, typer.Option(help="Folder or id of the model to serve and evaluate.")
    ] = "",
    adapter: Adapter = "",
    url: Annotated[str, typer.Option(help="URL of a running server, with /v1.")] = "",
    served: Annotated[str, typer.Option(help="The model's name on that server.")] = "model",
    key_env: Annotated[str, typer.Option(help="Name of the variable with its API key.")] = "",
    server_options: ServerOptions = "",
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
    system: System = "",
    template: Template = "auto",
    concurrency: Annotated[int, typer.Option(help="Requests in flight.")] = 64,
    label: Annotated[str, typer.Option(help="Name in tables; default: the model's.")] = "",
    run: Annotated[
        str, typer.Option(help="Training run that it belongs to: a report draws one line a run.")
    ] = "",
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the saved responses again; draw no new ones.")
    ] = False,
    snapshots: Snapshots = None,
    steps: Steps = "",
    with_base: WithBase = False,
) -> None:
    """Evaluate with evalscope: m responses per problem, pass@1 and pass@k with their uncertainty.

    Give the same command again to resume a stopped evaluation, or to evaluate new snapshots.
    """
    from rlkd_plugin.llm_io.model_server import ServedModel
    from rlkd_plugin.rlkd_cli.each_model import each_model, models_of
    from rlkd_plugin.rlkd_cli.evaluator import Evaluator, score_again
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.eval_table import show_results
    from rlkd_plugin.rlkd_eval.evaluation_plan import Sampling, describe_subject

    of_one_model = {"--adapter": adapter, "--url": url, "--label": label, "--rescore": rescore}
    check_snapshot_options(snapshots, steps, with_base, of_one_model)
    if not snapshots:
        _check_server(url, model, key_env, rescore)
    names = [name.strip() for name in sets.split(",") if name.strip()]
    counts = {name: int(count) for name, count in _read_pairs(samples, "--samples")}
    prompting = select_prompting(template, "" if url or rescore else model, adapter, snapshots)
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        system=system_prompt(system) or prompting.system,
        limit=limit,
        samples=counts or None,
        template=prompting.template,
    )
    files = {name: Path(file) for name, file in _read_pairs(data, "--data")}
    evaluator = Evaluator(sampling, names, files, prompting, server_options, key_env, concurrency)
    folders = [out]
    with report_stop(out):
        if snapshots:
            models = models_of(snapshots, steps, model, with_base, run)
            folders = each_model(models, out, evaluator.evaluate_snapshot)
        elif rescore:
            score_again(out, concurrency)
        elif model:
            subject = describe_subject(label, model, adapter, run)
            evaluator.evaluate(out, subject, ServedModel(url, served) if url else None)
        else:
            subject = describe_subject(label, f"{served} at {url}", adapter, run, served)
            evaluator.evaluate(out, subject, ServedModel(url, served))
    show_results(folders, wide_console())


def eval_table(
    folders: Annotated[list[Path], typer.Argument(help="Folders of `rlkd eval`.")],
) -> None:
    """Show evaluations side by side, in the layout of the paper's table 1."""
    from rlkd_plugin.rlkd_cli.tables.consoles import wide_console
    from rlkd_plugin.rlkd_cli.tables.eval_table import show_results

    show_results(folders, wide_console())


def _check_server(url: str, model: str, key_env: str, rescore: bool) -> None:
    """Check that a server is named, and that no key is given where it would be written to a file.

    Raises:
        RlkdError: if not.
    """
    from rlkd_plugin.llm_io.server_urls import check_url

    if not (rescore or model or url):
        raise RlkdError("name a --model to serve, or the --url of a running server")
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
