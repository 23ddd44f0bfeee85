"""The commands about the plugin itself: its file, recipes, chat template, and a guard for a run."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rlkd_plugin.gsrm import RlkdError


def path() -> None:
    """Print the plugin file's path, for `swift rlhf --external_plugins $(rlkd path)`."""
    from rlkd_plugin.llm_io.server_commands import PLUGIN_FILE

    typer.echo(PLUGIN_FILE)


def recipes(
    name: Annotated[str, typer.Argument(help="Recipe to copy; without it, all are listed.")] = "",
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder to copy it to.")
    ] = None,
) -> None:
    """List the recipes, or copy one with its Procfiles and .env file, so that it runs from DIR."""
    from rlkd_plugin.rlkd_cli import recipe_files

    if not name:
        known = recipe_files.known_recipes()
        width = max(map(len, known))
        for each, file in known.items():
            typer.echo(f"{each:<{width}}  {recipe_files.title_of(file)}")
        typer.echo("\nrlkd recipes NAME DIR copies one with all that it needs.")
        return
    recipe = recipe_files.find_recipe(name)
    if folder is None:
        raise RlkdError(f"name the folder to copy it to: rlkd recipes {name} DIR")
    copy = recipe_files.copy_recipe(recipe, folder)
    typer.echo(f"in {folder}: {', '.join(copy.files)}\nStart it there:")
    for line in (f"cd {shlex.quote(str(folder))}", *copy.commands):
        typer.echo(f"    {line}")


def chat_template(
    model: Annotated[str, typer.Argument(help="Folder or id of the model to serve.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the two files.")],
    adapter: Annotated[str, typer.Option(help="Folder of a LoRA for it.")] = "",
) -> None:
    """Write the files with which your own `vllm serve` prompts a model as `rlkd_r1` trained it."""
    from rlkd_plugin.llm_io.prompting import choose_prompting
    from rlkd_plugin.llm_io.server_commands import template_options
    from rlkd_plugin.swift_hooks.data.serving_files import write_serving_files

    prompting = choose_prompting("rlkd_r1", model, adapter)
    folder.mkdir(parents=True, exist_ok=True)
    write_serving_files(model, folder, prompting.system or None)
    typer.echo(f"vllm serve {shlex.quote(model)} {shlex.join(template_options(folder))}")


def guard(
    command: Annotated[list[str], typer.Argument(help="The command and its options.")],
    server: Annotated[
        bool, typer.Option("--server", help="It is a server: its end is an error.")
    ] = False,
    rollout: Annotated[
        bool,
        typer.Option(
            "--rollout",
            help="It is `swift rollout`: a server that is also stopped when it logs that it failed "
            "to load the student's weights.",
        ),
    ] = False,
) -> None:
    """Run a command of a Procfile; when it or the process manager ends, stop all its processes."""
    from rlkd_plugin.rlkd_guard import guard as run

    raise typer.Exit(run(command, server, rollout))  # an OSError ends as one line, with status 1
