"""What `rlkd curves` shows of a run: a table of its steps, one line of summary, and a chart."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_eval.run_log import Run, StepRecord, read_run

CHART = "rlkd_curves.png"
ROWS = 20  # of the table; a longer run is sampled evenly
SMOOTH_FROM = 30  # steps; a longer run's noise is shown pale behind its running mean

# Okabe and Ito's colours, which colour-blind readers tell apart; marker and dash differ as well
TOTAL = {"color": "#0072B2", "marker": "o", "linestyle": "-"}
STRUCTURE = {"color": "#D55E00", "marker": "s", "linestyle": "--"}
DEPTH = {"color": "#007A5A", "marker": "^", "linestyle": "-"}
ACCURACY = {"color": "#8B4A79", "marker": "D", "linestyle": "-"}
INK = "#333333"


def show(folder: Path, console: Console) -> None:
    """Print a run's table, summary and files, and draw its chart.

    Raises:
        RlkdError: if the folder holds no log of a GRPO run.
    """
    run = read_run(folder)
    chart = run.folder / CHART
    draw(run).savefig(chart, dpi=150)
    console.print(table(run))
    for line in (summary(run), *(f"note: {remark}" for remark in run.remarks)):
        console.print(line, soft_wrap=True)
    console.print(f"chart: {chart}", soft_wrap=True)
    for trace in run.traces:
        console.print(f"trace: {trace}", soft_wrap=True)


def table(run: Run) -> Table:
    """Return the steps as a table: all of them, or evenly sampled ones where they are many."""
    steps = sampled(run.steps, ROWS)
    title = run.folder.name
    if len(steps) < len(run.steps):
        title += f": {len(steps)} of its {len(run.steps)} steps, evenly sampled"
    result = Table(title=title, title_justify="left")
    for header in (
        *("step", "total reward", "structure reward", "matched depth"),
        *("accuracy", "groups with spread", "seconds"),
    ):
        result.add_column(header, justify="right")
    for s in steps:
        values = (s.reward, s.structure, s.depth, s.accuracy, s.spread)
        result.add_row(str(s.step), *(_cell(v, 3) for v in values), _cell(s.seconds, 1))
    return result


def sampled(steps: Sequence[StepRecord], most: int) -> list[StepRecord]:
    """Return at most `most` steps at even distances, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def summary(run: Run) -> str:
    """Return one line: how the numbers moved from the run's beginning to its end."""
    n = len(run.steps)
    edge = max(1, min(10, n // 3))
    parts = []
    for name, attribute in (
        ("total reward", "reward"),
        ("structure reward", "structure"),
        ("matched depth", "depth"),
        ("accuracy", "accuracy"),
    ):
        if values := [v for _, v in _series(run, attribute)]:
            parts.append(f"{name} {fmean(values[:edge]):.3f} -> {fmean(values[-edge:]):.3f}")
    which = "first and last step" if edge == 1 else f"mean of the first and last {edge} steps"
    total = sum(v for _, v in _series(run, "seconds"))
    return f"{n} steps in {total:.0f} s; {', '.join(parts)} ({which})"


def draw(run: Run) -> Figure:
    """Draw rewards, matched depth and accuracy over the steps, one panel under the other."""
    figure = Figure(figsize=(8, 7.6), facecolor="white", layout="constrained")
    rewards, depth, accuracy = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    panels = (
        (rewards, "mean reward", (("total", "reward", TOTAL), ("structure", "structure", STRUCTURE))),
        (depth, "matched depth\n(teacher steps)", (("", "depth", DEPTH),)),
        (accuracy, "accuracy", (("", "accuracy", ACCURACY),)),
    )
    for axes, label, curves in panels:
        drawn = [_curve(axes, _series(run, attribute), name, style) for name, attribute, style in curves]
        axes.set_ylabel(label, color=INK, fontsize=11)
        _dress(axes)
        if not any(drawn):
            axes.set_yticks([])
            axes.text(0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color=INK)
        elif len(curves) > 1:
            axes.legend(frameon=False, fontsize=11, labelcolor=INK, loc="upper left", ncols=2)
    accuracy.set_xlabel("step", color=INK, fontsize=11)
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.suptitle(f"RLKD run {run.folder.name}", x=0.02, ha="left", fontsize=13, color=INK)
    return figure
