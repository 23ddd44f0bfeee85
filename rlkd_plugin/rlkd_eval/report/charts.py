"""Charts as plotly figures, with the numbers behind them; pure functions of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotly import graph_objects as go

from rlkd_plugin.rlkd_eval.report.chart_numbers import numbers_of
from rlkd_plugin.rlkd_eval.report.curves import COLOURS, Line, curves, is_long, label
from rlkd_plugin.rlkd_eval.run_chart import WINDOW

PATTERNS = ("", "/", ".", "x", "-", "|", "+")


@dataclass(frozen=True)
class Chart:
    """A figure for plotly, and its numbers as a table.

    Attributes:
        key: names the figure and its PNG.
        title: what it shows.
        figure: for plotly.
        header: of the table.
        rows: of the table.
        note: under the chart.
        lanes: rows of the figure that need more height than a chart has.
        is_wide: whether it has the whole width, with its table open below it.
    """

    key: str
    title: str
    figure: Mapping[str, Any]
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    lanes: int = 0
    is_wide: bool = False

    @property
    def names(self) -> int:
        """Names in the legend, for which the chart needs room; 0 for a single one."""
        names = sum(trace.get("showlegend", True) for trace in self.figure["data"])
        return names if names > 1 else 0


def line_chart(
    key: str,
    title: str,
    axes: tuple[str, str],
    lines: Sequence[Line],
    *,
    note: str = "",
    percent: bool = False,
    log_x: bool = False,
    least: float = 0.0,
) -> Chart:
    """Draw curves over x.

    Args:
        key: names the chart in the page and its PNG.
        title: what it shows.
        axes: the labels of x and y.
        lines: one curve a name; a long noisy one is pale, with its running mean on top.
        note: a sentence under the chart.
        percent: show shares as percent.
        log_x: powers of two at equal distances.
        least: minimum of the y axis's upper end, so that noise does not look like a trend.
    """
    figure = go.Figure()
    for number, line in enumerate(lines):
        figure.add_traces(curves(line, number))
    figure.update_layout(layout(axes, len(lines) > 1))
    numbers = [y for line in lines for _, y in line.points if y is not None]
    highs = [bound.high for line in lines for bound in line.bounds]
    top = max(least, max([*numbers, *highs], default=0.0) * 1.1) or 1.0
    figure.update_yaxes(range=[1.1 * min([0, *numbers]), top])
    if percent:
        figure.update_yaxes(tickformat=".0%", hoverformat=".1%")
    xs = sorted({x for line in lines for x, _ in line.points})
    if log_x:
        figure.update_xaxes(type="log", tickvals=xs, ticktext=[f"{x:g}" for x in xs])
    elif xs and xs[-1] - xs[0] < 10:
        figure.update_xaxes(dtick=1)
    header, rows, cut = numbers_of(axes[0], lines, percent)
    notes = [note, f"bold: mean of {WINDOW} steps" if any(map(is_long, lines)) else "", cut]
    return Chart(key, title, figure.to_plotly_json(), header, rows, "; ".join(filter(None, notes)))


def bar_chart(
    key: str,
    title: str,
    axes: tuple[str, str],
    places: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    note: str = "",
) -> Chart:
    """Draw stacked bars, one a place, that differ in pattern as well as in colour.

    Args:
        key: names the chart in the page and its PNG.
        title: what it shows.
        axes: the labels of x and y.
        places: the labels of the bars.
        parts: for each name, its number in each bar; drawn as shares of the bar.
        note: a sentence under the chart.
    """
    totals = [sum(numbers) or 1 for numbers in zip(*parts.values(), strict=True)]
    figure = go.Figure()
    for number, (name, counts) in enumerate(parts.items()):
        figure.add_bar(
            x=list(places),
            y=[count / total for count, total in zip(counts, totals, strict=True)],
            name=label(name),
            marker={
                "color": COLOURS[number % len(COLOURS)][0],
                "pattern": {
                    "shape": PATTERNS[number % len(PATTERNS)],
                    "size": 6,
                    "fillmode": "overlay",
                },
            },
            meta={"style": number % len(COLOURS)},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(layout(axes, True) | {"barmode": "stack", "bargap": 0.15})
    figure.update_xaxes(type="category", nticks=3, tickangle=0)
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    columns = [[f"{count:g}" for count in counts] for counts in parts.values()]
    rows = list(zip(places, *columns, strict=True))
    return Chart(key, title, figure.to_plotly_json(), (axes[0], *parts), rows, note)


def layout(axes: tuple[str, str], many: bool) -> dict[str, Any]:
    """Return the layout of all charts: axes with these labels, and a legend for many names."""
    return {
        "template": None,
        "margin": {"l": 56, "r": 12, "t": 36, "b": 44},  # the mode bar is at the top
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        "hovermode": "x unified",
        "showlegend": many,
        "xaxis": {"title": {"text": axes[0]}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": axes[1]}, "automargin": True, "zeroline": False},
    }
