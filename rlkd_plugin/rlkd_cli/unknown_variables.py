"""Warns of misspelt variables, which would change nothing silently."""

import os
from collections.abc import Sequence

import typer

SILENT = ("path", "check", "guard")
"""Commands that print no warning: `path` is used inside other command lines, `check` reports it as
a finding, and the command that `guard` starts warns itself."""


def warn_of_unknown_variables(words: Sequence[str]) -> None:
    """Print a warning of each variable that looks like a setting but is not one.

    Args:
        words: the command line from the command's name on; a variable that it names, as with
            `--key-env`, is not warned of.
    """
    if words[0] in SILENT or not any(name.upper().startswith("RLKD_") for name in os.environ):
        return
    from rlkd_plugin.llm_io.settings import unknown_variable_warnings

    named = [word.removeprefix("--key-env=") for word in words]
    for warning in unknown_variable_warnings(named):
        typer.echo(f"rlkd: {warning}", err=True)
