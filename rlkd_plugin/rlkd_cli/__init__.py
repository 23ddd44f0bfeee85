"""The `rlkd` command: the only layer that prints, and the only one that reads a command line."""

from rlkd_plugin.rlkd_cli.app import app

__all__ = ["app"]
