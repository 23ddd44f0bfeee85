"""How the commands that serve a model ask it: the option `--template`."""

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
        help="How the model is asked: as with the recipes' template, as with its own, or (auto) "
        "with what it was trained with; of a running server: what it has."
    ),
]


def tell_prompting(choice: Choice, model: str, adapter: str, run: Path | None = None) -> Prompting:
    """Choose how a model is asked, and say so where that is not its own way.

    Args:
        choice: of the user.
        model: that is served here; nothing for a server that runs, of which only the user knows.
        adapter: of a LoRA for the model, or nothing.
        run: the folder of a training, all of whose models are asked as the last one was trained;
            the one that it began with too.

    Raises:
        RlkdError: if the training asked in a way that is not known here.
    """
    if run:
        from rlkd_plugin.rlkd_eval.run_models import run_models

        last = run_models(run, base=model)[-1]
        model, adapter = last.model, last.adapter
    prompting = choose_prompting(choice, model, adapter if model else "")
    if prompting.template and model:
        typer.echo(prompting.said)
    return prompting


def serve(
    model: str, adapter: str, options: str, log: Path, prompting: Prompting
) -> AbstractContextManager["ServedModel"]:
    """Return `model_server` with all that a template needs; the arguments are its."""
    from rlkd_plugin.llm_io.model_server import model_server
    from rlkd_plugin.swift_hooks.data.serving_files import write_serving_files

    return model_server(model, adapter, options, log, prompting, write_serving_files)
