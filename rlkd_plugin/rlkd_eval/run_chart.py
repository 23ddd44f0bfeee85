"""The chart of a run: rewards, depth, accuracy and the rewards' shares, one under the other."""

from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlkd_plugin.rlkd_eval.run_log import Run, series
from rlkd_plugin.rlkd_eval.run_rewards import RunRewards

SMOOTH_FROM = 30  # steps; a longer run is drawn pale, with its running mean on top
WINDOW = 10  # steps of the running mean
INK = "#333333"

# From Okabe and Ito's palette, safe for colour-blind readers; line and marker differ too.
# The total's rings are wide, so that they show also where the structure reward is all of it.
TOTAL = {
    "color": "#0072B2",
    "marker": "o",
    "linestyle": "-",
    "markersize": 11,
    "markerfacecolor": "white",
    "markeredgewidth": 2,
}
STRUCTURE = {"color": "#D55E00", "marker": "s", "linestyle": "--"}
DEPTH = {"color": "#009E73", "marker": "^", "linestyle": "-"}
ACCURACY = {"color": "#A3508B", "marker": "D", "linestyle": "-"}

SHARES = (
    {"color": "#A3508B", "marker": "D", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#0072B2", "marker": "o", "linestyle": ":"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#7A6000", "marker": "P", "linestyle": "-"},
)
"""Styles of the rewards, in their order; a sixth looks like the first."""

Curve = tuple[str, list[tuple[int, float]], dict[str, Any]]
"""A curve: its name, its points and its style."""

# A panel: its label, and its curves as (name, value of the step, style).
PANELS = (
    ("mean reward", (("total", "reward", TOTAL), ("structure", "structure", STRUCTURE))),
    ("matched depth", (("matched depth, in steps of the teacher", "depth", DEPTH),)),
    ("accuracy", (("share of right answers", "accuracy", ACCURACY),)),
)


def draw(run: Run, rewards: RunRewards | None = None) -> Figure:
    """Draw a run; the curve of a value that the log lacks is skipped, or its panel is empty.

    The rewards' shares have their own panel where they are known.
    """
    contents: list[tuple[str, list[Curve]]] = [
        (label, [(name, series(run, value), style) for name, value, style in curves])
        for label, curves in PANELS
    ]
    if rewards and rewards.spreads:
        contents.append(("share of variance", _shares(rewards)))
    heights = [3, *[2] * (len(contents) - 1)]
    figure = Figure(figsize=(8, 1.1 * sum(heights)), facecolor="white", layout="constrained")
    panels = figure.subplots(len(contents), 1, sharex=True, height_ratios=heights)
    for axes, (label, curves) in zip(panels, contents, strict=True):
        dress(axes, label)
        drawn = []
        for name, points, style in curves:
            if points:
                _curve(axes, points, name, style)
                drawn += [number for _, number in points]
        if drawn:
            # with 0, and a range in which the noise of a flat curve does not look like a trend
            axes.set_ylim(min(0, 1.15 * min(drawn)), max(0.25, 1.15 * max(drawn)))
            legend(axes)
        else:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color=INK)
    panels[-1].set_xlabel("step", color=INK, fontsize=11)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels()
    figure.suptitle(run.folder.name, x=0.015, ha="left", fontsize=13, color=INK)
    return figure


def _shares(rewards: RunRewards) -> list[Curve]:
    """Return each reward's share of the advantage's variance over the steps."""
    return [
        (
            name,
            [(step, spread.shares[name]) for step, spread in rewards.spreads.items()],
            SHARES[place % len(SHARES)],
        )
        for place, name in enumerate(rewards.weights)
    ]


def _curve(axes: Axes, points: list[tuple[int, float]], name: str, style: dict[str, Any]) -> None:
    """Draw one curve; a long one pale, with its running mean bold."""
    steps, values = [list(part) for part in zip(*points, strict=True)]
    if len(points) < SMOOTH_FROM:
        axes.plot(steps, values, label=name, linewidth=2, clip_on=False, zorder=3, **style)
        return
    axes.plot(steps, values, color=style["color"], linewidth=1, alpha=0.3)
    means = [fmean(values[max(0, i + 1 - WINDOW) : i + 1]) for i in range(len(values))]
    axes.plot(
        steps,
        means,
        label=f"{name} (bold: mean of {WINDOW} steps)",
        linewidth=2.2,
        markevery=max(1, len(steps) // 12),
        zorder=3,
        **style,
    )


def legend(axes: Axes) -> None:
    """Name the curves above their panel."""
    axes.legend(
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(-0.015, 0.98),
        handlelength=3,
    )


def dress(axes: Axes, label: str) -> None:
    """Give a panel its label and a quiet frame."""
    axes.set_ylabel(label, color=INK, fontsize=11)
    axes.tick_params(colors=INK, labelsize=10)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
