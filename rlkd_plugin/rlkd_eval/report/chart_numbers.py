"""The numbers behind a chart, as the rows of a table."""

from collections.abc import Sequence

from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.run_curves import sample_evenly

MOST_ROWS = 200
NO_NUMBER = "–"  # noqa: RUF001 - a dash for "none", as in printed tables


def numbers_of(
    x: str, lines: Sequence[Line], percent: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """Return header and rows of the table behind curves, and a remark if it is a sample."""
    names = [line.name for line in lines]
    columns = [_column(line, percent) for line in lines]
    xs = sorted({x for column in columns for x in column})
    shown = sample_evenly(xs, MOST_ROWS)
    rows = []
    for place in shown:
        cells = [column.get(place, NO_NUMBER) for column in columns]
        rows.append((f"{place:g}", *cells))
    cut = f"the table has {len(shown)} of {len(xs)} rows, evenly sampled"
    return (x, *names), rows, cut if len(shown) < len(xs) else ""


def number(value: float | None, percent: bool = False) -> str:
    """Return a number for a table."""
    if value is None:
        return NO_NUMBER
    return f"{value:.1%}" if percent else f"{value:.4g}"


def _column(line: Line, percent: bool) -> dict[float, str]:
    """Return a curve's numbers by x, with their intervals where it has any."""
    around = [
        f" ({number(bound.low, percent)} to {number(bound.high, percent)})" for bound in line.bounds
    ] or [""] * len(line.points)
    return {
        x: number(y, percent) + interval
        for (x, y), interval in zip(line.points, around, strict=True)
    }
