"""The `rlkd` command: the only layer that prints, and the only one that reads a command line."""

from rlkd_plugin.rlkd_cli.stop_signals import run_command, signals_end_at_once

with signals_end_at_once():  # no work to end in order while it starts
    from rlkd_plugin.rlkd_cli.app import app

__all__ = ["app", "run"]


def run() -> None:
    """Run the command line of this process."""
    run_command(app)
