"""The charts and tables of a comparison of arms: paired differences, and their costs."""

from collections.abc import Sequence

from rlkd_plugin.rlkd_eval.comparison import SHARE, ArmDifference, Comparison
from rlkd_plugin.rlkd_eval.report.charts import Chart
from rlkd_plugin.rlkd_eval.report.forest import Estimate, Numbers, forest_chart
from rlkd_plugin.rlkd_eval.report.tables import Cell, Table

HEADER = (
    "arms",
    "test set",
    "difference",
    "95% interval",
    "least detectable",
    "seeds",
    "problems",
)
NOTE = (
    "right of 0 the first arm has more; bars: 95% intervals, problems and seeds resampled; least "
    "detectable: the true difference that is found in 80% of such comparisons"
)


def forests(key: str, comparison: Comparison) -> list[Chart]:
    """Return a chart for each measure: no chart mixes units.

    Args:
        key: begins the names of the charts.
        comparison: what was compared.
    """
    kinds = dict.fromkeys((one.measure, one.unit) for one in comparison.differences)
    charts = []
    for place, (measure, unit) in enumerate(kinds):
        found = [d for d in comparison.differences if (d.measure, d.unit) == (measure, unit)]
        shown = "percentage points" if unit == SHARE else unit
        numbers = Numbers(HEADER, [_row(one) for one in found])
        estimates = [_estimate(one) for one in found]
        title = f"{measure}: difference, in {shown}"
        charts.append(forest_chart(f"{key}-{place}", title, shown, estimates, numbers, NOTE))
    return charts


def cost_table(comparison: Comparison) -> Table | None:
    """Return the cost of each arm's training, or None where none is known."""
    header = (
        "arm",
        "steps",
        "seconds",
        "completions",
        "tokens generated",
        "tokens trained",
        "note",
    )
    rows = []
    for cost in comparison.costs:
        counts = (
            cost.steps,
            round(cost.seconds),
            cost.completions,
            cost.tokens_generated,
            cost.tokens_trained,
        )
        rows.append((cost.arm, (*(Cell(f"{count:,}") for count in counts), Cell(cost.note))))
    note = "of one training; a token that is trained on several times counts each time"
    return Table("Cost of an arm's training", header, tuple(rows), note) if rows else None


def _estimate(one: ArmDifference) -> Estimate:
    value, low, high = _scale(one, (one.difference.value, one.difference.low, one.difference.high))
    return Estimate(one.pair, one.test_set, value, low, high)


def _row(one: ArmDifference) -> tuple[str, ...]:
    d = one.difference
    value, low, high = (_format_signed(one, x) for x in _scale(one, (d.value, d.low, d.high)))
    (least,) = _scale(one, (d.detectable,))
    return (
        one.pair,
        one.test_set,
        value,
        f"{low} to {high}",
        _format_signed(one, least).lstrip("+"),
        str(one.seeds),
        f"{one.problems:,}",
    )


def _scale(one: ArmDifference, values: Sequence[float]) -> list[float]:
    """Return values for display: shares in percentage points."""
    return [100 * value if one.unit == SHARE else value for value in values]


def _format_signed(one: ArmDifference, value: float) -> str:
    return f"{value:+.1f}" if one.unit == SHARE else f"{value:+.3f}"
