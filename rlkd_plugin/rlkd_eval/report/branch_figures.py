"""The charts of several teacher branches: how often another one wins, and its gain."""

from collections.abc import Sequence

from rlkd_plugin.rlkd_eval.report.charts import Chart, line_chart
from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.report.sources import BRANCH_GAINS, OTHER_BRANCH, Source

WON_NOTE = (
    "of the completions with a reward whose first branch has a structure; a branch that could at "
    "most tie is not compared further, so the first might have earned as much as some of these"
)
GAIN_NOTE = (
    "mean over the same completions of their reward minus the first branch's, on the run's scale; "
    "0 where the first branch won; where it was dropped, its reward is known only between two "
    "bounds: “at least” assumes the highest, “at most” the lowest; the gain lies between the "
    "two curves, and is known where they meet"
)


def branches(sources: Sequence[Source]) -> list[Chart]:
    """Return the charts, none where no run has several branches; zero is a result here."""
    won = [
        Line(run.name, run.health[OTHER_BRANCH]) for run in sources if OTHER_BRANCH in run.health
    ]
    gains = [
        Line(f"{run.name}: {bound}", run.health[key])
        for run in sources
        for key, bound in BRANCH_GAINS.items()
        if key in run.health
    ]
    charts = []
    if won:
        charts.append(
            line_chart(
                "branches-won",
                "Completions that another branch than the first won",
                ("step", "share of completions"),
                won,
                note=WON_NOTE,
                percent=True,
                least=0.05,
            )
        )
    if gains:
        charts.append(
            line_chart(
                "branches-gain",
                "Gain over the first branch",
                ("step", "reward"),
                gains,
                note=GAIN_NOTE,
                least=0.05,
            )
        )
    return charts
