"""The rewards' shares over the steps, and the rewards of cut-off completions."""

from collections.abc import Sequence

from rlkd_plugin.rlkd_eval.cut_off_rewards import Ends, Mean
from rlkd_plugin.rlkd_eval.report.chart_numbers import NO_NUMBER, number
from rlkd_plugin.rlkd_eval.report.charts import Chart, line_chart
from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.report.sources import Source
from rlkd_plugin.rlkd_eval.report.tables import Cell, Table
from rlkd_plugin.rlkd_eval.run_rewards import RunRewards

HEADER = (
    "run: reward",
    "weight",
    "share of the variance",
    "whole completions",
    "their mean reward",
    "cut-off completions",
    "their mean reward",
)
TABLE_NOTE = (
    "share: of the advantage's variance inside groups, pooled over all steps; mean reward: before "
    "its weight; cut off: at the length limit; a completion without this reward counts in neither "
    "mean"
)
CHART_NOTE = (
    "the shares of a step add up to 100%; a share below 0 works against the other rewards; no "
    "share says how large advantages are, or whether a reward is right"
)


def share_charts(sources: Sequence[Source]) -> list[Chart]:
    """Return a chart of each run whose rewards' shares are known: a curve a reward."""
    charts = []
    for place, run in enumerate(sources):
        spreads = run.rewards.spreads
        lines = [
            Line(name, [(step, spread.shares[name]) for step, spread in spreads.items()])
            for name in run.rewards.weights
        ]
        if spreads:
            charts.append(
                line_chart(
                    f"shares-{place}",
                    f"Which reward steers: {run.name}",
                    ("step", "share of the variance"),
                    lines,
                    note=CHART_NOTE,
                    percent=True,
                    least=1.0,
                )
            )
    return charts


def reward_table(sources: Sequence[Source]) -> Table | None:
    """Return the rewards of each run, overall, or None where none are known."""
    rows = [
        (f"{run.name}: {name}", _cells(run.rewards, name))
        for run in sources
        for name in dict.fromkeys([*run.rewards.weights, *run.rewards.ends])
    ]
    title = "Shares of the rewards, and rewards of whole and cut-off completions"
    return Table(title, HEADER, tuple(rows), TABLE_NOTE) if rows else None


def _cells(rewards: RunRewards, name: str) -> tuple[Cell, ...]:
    overall = rewards.overall
    weight = rewards.weights.get(name)
    share = overall.shares.get(name) if overall else None
    ends = rewards.ends.get(name, Ends())
    known = name in rewards.ends
    texts = (
        NO_NUMBER if weight is None else f"{weight:g}",
        number(share, percent=True),
        *_mean(ends.whole, known),
        *_mean(ends.cut_off, known),
    )
    return tuple(map(Cell, texts))


def _mean(mean: Mean, known: bool) -> tuple[str, str]:
    return (
        f"{mean.count:,}" if known else NO_NUMBER,
        NO_NUMBER if mean.value is None else f"{mean.value:.3f}",
    )
