"""The numbers behind a chart, as the rows of a table."""

from collections.abc import Sequence

from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.results import Interval
from rlkd_plugin.rlkd_eval.run_curves import sampled

MOST_ROWS = 200


def numbers_of(
    x: str, lines: Sequence[Line], percent: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """Return header and rows of the table behind curves, and a remark if it is a sample."""
    columns = [dict(line.points) for line in lines]
    bounds = [
        {x: bound for (x, _), bound in zip(line.points, line.bounds, strict=True)}
        if line.bounds
        else {}
        for line in lines
    ]
    xs = sorted({x for column in columns for x in column})
    shown = sampled(xs, MOST_ROWS)
    rows = [
        (
            f"{x:g}",
            *(
                number(c.get(x), percent) + _around(b.get(x), percent)
                for c, b in zip(columns, bounds, strict=True)
            ),
        )
        for x in shown
    ]
    cut = f"the table has {len(shown)} of {len(xs)} rows, evenly sampled"
    header = (x, *(line.name for line in lines))
    return header, rows, cut if len(shown) < len(xs) else ""


def number(value: float | None, percent: bool = False) -> str:
    """Return a number for a table."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash for "none", as in printed tables
    return f"{value:.1%}" if percent else f"{value:.4g}"


def _around(bound: Interval | None, percent: bool) -> str:
    if bound is None:
        return ""
    return f" ({number(bound.low, percent)} to {number(bound.high, percent)})"
