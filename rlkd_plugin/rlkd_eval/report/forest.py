"""A forest chart: estimates with their intervals in rows, around a line at zero."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plotly import graph_objects as go

from rlkd_plugin.rlkd_eval.report.charts import Chart, layout
from rlkd_plugin.rlkd_eval.report.curves import COLOURS, SYMBOLS, label, printable

LANES = 9  # rows that fit a chart of normal height
NAME_WIDTH, NAME_LINES = 18, 3  # of a row's name: on a phone the plot needs the room
BAND = 0.7  # the part of a row that its estimates spread over


@dataclass(frozen=True)
class Estimate:
    """A point with its interval, the row that it is in, and its name in the row."""

    row: str
    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Numbers:
    """The table under a chart."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def forest_chart(
    key: str, title: str, unit: str, estimates: Sequence[Estimate], numbers: Numbers, note: str
) -> Chart:
    """Draw estimates of one unit; a name has its own colour and marker in all rows.

    Args:
        key: names the chart in the page and its PNG.
        title: of the chart.
        unit: of the estimates, the label of x.
        estimates: their order is that of rows and names, from the top.
        numbers: the table under the chart.
        note: a sentence under the chart.
    """
    rows = list(dict.fromkeys(one.row for one in estimates))
    names = list(dict.fromkeys(one.name for one in estimates))
    texts = [
        textwrap.wrap(printable(row), NAME_WIDTH, max_lines=NAME_LINES, placeholder="…")
        for row in rows
    ]
    figure = go.Figure()
    for number, name in enumerate(names):
        shift = BAND * ((number + 0.5) / len(names) - 0.5)
        of_name = [one for one in estimates if one.name == name]
        figure.add_trace(_points(of_name, number, [rows.index(e.row) + shift for e in of_name]))
    figure.update_layout(layout((unit, ""), len(names) > 1) | {"hovermode": "closest"})
    figure.update_xaxes(zeroline=True, zerolinewidth=2, zerolinecolor="#888888")
    figure.update_yaxes(
        range=[len(rows) - 0.5, -0.5],  # the first row at the top
        tickvals=list(range(len(rows))),
        ticktext=["<br>".join(map(label, lines)) for lines in texts],
        showgrid=False,
    )
    more = max(map(len, texts), default=1) - 1
    lanes = max(0, round(len(rows) * (0.8 * len(names) + 0.7 + 0.5 * more)) - LANES)
    drawn = figure.to_plotly_json()
    return Chart(key, title, drawn, numbers.header, numbers.rows, note, lanes=lanes, is_wide=True)


def _points(estimates: Sequence[Estimate], number: int, places: Sequence[float]) -> go.Scatter:
    """Return the `number`-th name's points at their places on y."""
    style = number % len(COLOURS)
    colour = COLOURS[style][0]
    symbol = SYMBOLS[style] + ("-open" if number >= len(COLOURS) else "")
    bars: dict[str, Any] = {
        "type": "data",
        "symmetric": False,
        "array": [max(0, one.high - one.value) for one in estimates],
        "arrayminus": [max(0, one.value - one.low) for one in estimates],
        "thickness": 2,
        "width": 5,
    }
    return go.Scatter(
        x=[one.value for one in estimates],
        y=list(places),
        name=label(estimates[0].name),
        meta={"style": style},
        mode="markers",
        marker={"symbol": symbol, "size": 10, "color": colour},
        error_x=bars,
        text=[label(one.row) for one in estimates],
        hovertemplate="%{text}: %{x}",
    )
