"""The `rlkd` command: its commands in the order of its help, and how it ends on an error.

A command's module imports what the command needs when it runs, so that `rlkd path` inside another
command line costs milliseconds.
"""

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli.data_commands import construct, merge, prepare, structure, subset
from rlkd_plugin.rlkd_cli.diversity_commands import diversity, diversity_table
from rlkd_plugin.rlkd_cli.engine_commands import check, judge_check
from rlkd_plugin.rlkd_cli.eval_commands import eval_table, evaluate
from rlkd_plugin.rlkd_cli.plugin_commands import chat_template, guard, path, recipes
from rlkd_plugin.rlkd_cli.report_commands import curves, report
from rlkd_plugin.rlkd_cli.score_commands import score
from rlkd_plugin.rlkd_cli.stop_signals import exit_code, orderly_stop
from rlkd_plugin.rlkd_cli.unknown_variables import warn_of_unknown_variables

PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Context settings of a command whose arguments are another command line."""


class Commands(TyperGroup):
    """The commands; an error in the user's files or settings ends as one line."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run a command; where it raises an error of ours, print it and exit with code 1.

        One that is stopped exits with 130 after Ctrl-C and with 143 after SIGTERM.
        """
        try:
            with orderly_stop():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(exit_code()) from None
        except BrokenPipeError:
            raise  # as in `rlkd recipes | head`: click ends silently
        except (RlkdError, OSError) as error:
            typer.echo(f"rlkd: {error}", err=True)
            raise typer.Exit(1) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that a command line names, and warn of misspelt variables."""
        warn_of_unknown_variables(args)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    help="RLKD for ms-swift: distil a teacher's reasoning structure into a student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(given: bool) -> None:
    """Print the version and end, if the option is given."""
    if given:
        typer.echo(f"rlkd_plugin {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Send warnings to standard error."""
    handler = logging.lastResort  # unlike others it looks up sys.stderr each time, as a bar needs
    assert handler is not None
    logging.basicConfig(format="%(message)s", handlers=[handler])


app.command()(path)
app.command()(recipes)
app.command()(check)
app.command()(judge_check)
app.command()(prepare)
app.command()(construct)
app.command()(structure)
app.command()(subset)
app.command()(merge)
app.command("eval")(evaluate)
app.command()(eval_table)
app.command()(diversity)
app.command()(diversity_table)
app.command()(score)
app.command()(chat_template)
app.command()(curves)
app.command()(report)
app.command(context_settings=PASS_THROUGH)(guard)
