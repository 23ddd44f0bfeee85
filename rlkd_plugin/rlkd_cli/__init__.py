"""The `rlkd` command: the only layer that prints, and the only one that reads a command line."""

try:
    from rlkd_plugin.rlkd_cli.app import app
    from rlkd_plugin.rlkd_cli.stop_signals import end_with
except KeyboardInterrupt:  # Ctrl-C while it starts
    raise SystemExit(130) from None

__all__ = ["app", "run"]


def run() -> None:
    """Run the command line of this process."""
    end_with(app)
