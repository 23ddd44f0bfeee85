"""The style of curves: colour, dash and marker differ, so that no reader depends on colour.

Names are escaped: plotly renders some HTML in labels.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from plotly import graph_objects as go

from rlkd_plugin.rlkd_eval.result_values import Interval, Measure
from rlkd_plugin.rlkd_eval.run_chart import SMOOTH_FROM, WINDOW
from rlkd_plugin.rlkd_eval.run_curves import sample_evenly

MOST_POINTS = 2000  # of a curve; a screen shows no more
LONGEST = 48  # characters of a name in a label

# After Okabe and Ito, distinct for colour-blind readers; a second set for dark pages.
COLOURS = (
    ("#0072B2", "#56B4E9"),
    ("#C24A00", "#FF9E64"),
    ("#00795A", "#2FCBA0"),
    ("#A3508B", "#E5A3D0"),
    ("#7A6000", "#E9CB4A"),
    ("#4D4D4D", "#C9C9C9"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "x")


@dataclass(frozen=True)
class Line:
    """A curve: its points by x, None for a gap; `bounds` are intervals of the points."""

    name: str
    points: Sequence[tuple[float, float | None]]
    bounds: Sequence[Interval | Measure] = ()


def curves(line: Line, number: int) -> list[go.Scatter]:
    """Return the traces of the `number`-th curve of a chart: one, or noise and its mean."""
    points = sample_evenly(line.points, MOST_POINTS)
    style = number % len(COLOURS)
    symbol = SYMBOLS[style] + ("-open" if number >= len(COLOURS) else "")
    look: dict[str, Any] = {
        "x": [x for x, _ in points],
        "name": label(line.name),
        "meta": {"style": style},
        "cliponaxis": False,  # a curve along 0 keeps its width
        "line": {"color": COLOURS[style][0], "dash": DASHES[style], "width": 2.5},
    }
    ys = [y for _, y in points]
    if not is_long(line):
        bounds = {"error_y": _error_bars(line)} if line.bounds else {}
        marker = {"symbol": symbol, "size": 8, "color": COLOURS[style][0], "maxdisplayed": 24}
        return [go.Scatter(**look, y=ys, mode="lines+markers", marker=marker, **bounds)]
    marker = {"symbol": symbol, "size": 8, "color": COLOURS[style][0], "maxdisplayed": 12}
    known = [(x, y) for x, y in line.points if y is not None]
    means = [
        (x, fmean(y for _, y in known[max(0, i + 1 - WINDOW) : i + 1]))
        for i, (x, _) in enumerate(known)
    ]
    means = sample_evenly(means, MOST_POINTS)
    pale = look | {"line": {"color": COLOURS[style][0], "width": 1}}
    bold = look | {"x": [x for x, _ in means]}
    return [
        go.Scatter(**pale, y=ys, mode="lines", opacity=0.35, showlegend=False, hoverinfo="skip"),
        go.Scatter(**bold, y=[y for _, y in means], mode="lines+markers", marker=marker),
    ]


def is_long(line: Line) -> bool:
    """Return whether a curve is noise to be smoothed: long, without a break or an interval."""
    whole = all(y is not None for _, y in line.points)
    return len(line.points) >= SMOOTH_FROM and whole and not line.bounds


def label(name: str) -> str:
    """Return a name as a label for plotly: printable, clipped, and without markup."""
    name = printable(name)
    return html.escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def printable(text: str) -> str:
    """Return a text with U+FFFD for each character that cannot be printed or reverses the text."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _error_bars(line: Line) -> dict[str, Any]:
    ends = [(bound.high - bound.value, bound.value - bound.low) for bound in line.bounds]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0, up) for up, _ in ends],
        "arrayminus": [max(0, down) for _, down in ends],
        "thickness": 1.2,
        "width": 4,
    }
