"""The option `--template`: how the commands that serve a model prompt it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlkd_plugin.llm_io.prompting import Choice, Prompting, choose_prompting

if TYPE_CHECKING:
    from rlkd_plugin.llm_io.model_server import ServedModel

Template = Annotated[
    Choice,
    typer.Option(
        help="How the model is prompted: with the recipes' template, with its own, or (auto) with "
        "the one that it was trained with; a running server keeps its own."
    ),
]


def select_prompting(
    choice: Choice, model: str, adapter: str, run: Path | None = None
) -> Prompting:
    """Choose how a model is prompted, and print it if this is not its own template.

    Args:
        choice: the user's choice.
        model: the model that is served here; empty for a running server, which is not known here.
        adapter: a LoRA for the model, or empty.
        run: the folder of a training; all its models are prompted as the last one was trained, also
            the one that it began with.

    Raises:
        RlkdError: if the training used a template that is not known here.
    """
    if run:
        from rlkd_plugin.rlkd_eval.run_models import run_models

        last = run_models(run, base=model)[-1]
        model, adapter = last.model, last.adapter
    prompting = choose_prompting(choice, model, adapter if model else "")
    if prompting.template and model:
        typer.echo(prompting.notice)
    return prompting


def serve(
    model: str, adapter: str, options: str, log: Path, prompting: Prompting
) -> AbstractContextManager["ServedModel"]:
    """Return `model_server` with the files that a template needs; it has the same arguments."""
    from rlkd_plugin.llm_io.model_server import model_server
    from rlkd_plugin.swift_hooks.data.serving_files import write_serving_files

    return model_server(model, adapter, options, log, prompting, write_serving_files)
