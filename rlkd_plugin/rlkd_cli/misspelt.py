"""The warning of a command about misspelt variables, which would change nothing without a word."""

import os
from collections.abc import Sequence

import typer

SILENT = ("path", "check", "guard")
"""Commands that print no warning: `path` stands inside other command lines, `check` has a finding
of its own, and what `guard` starts warns itself."""


def warn_of_misspelt_variables(words: Sequence[str]) -> None:
    """Print a warning of each variable that looks like a setting's and is none.

    Args:
        words: of the command line, from the command's name on; a variable that one of them names,
            as `--key-env` does, is meant.
    """
    if words[0] in SILENT or not any(name.upper().startswith("RLKD_") for name in os.environ):
        return
    from rlkd_plugin.llm_io.settings import unknown_variable_warnings

    named = [word.removeprefix("--key-env=") for word in words]
    for warning in unknown_variable_warnings(named):
        typer.echo(f"rlkd: {warning}", err=True)
