"""The `rlkd` command: the only layer that prints, and the only one that reads a command line."""

try:
    from rlkd_plugin.rlkd_cli.app import app
except KeyboardInterrupt:  # Ctrl-C while it starts
    raise SystemExit(130) from None

__all__ = ["app"]
