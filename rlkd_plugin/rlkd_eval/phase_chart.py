"""The chart and table of structured fine-grained training: the two losses, then a and b."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from rlkd_plugin.rlkd_eval.phase_log import PHASE_NAMES, PhaseStep, phase_starts
from rlkd_plugin.rlkd_eval.run_chart import INK, dress, legend

# marker and line differ as well as colour, so that no reader depends on colour
META = {"color": "#0072B2", "marker": "o", "linestyle": "-"}
SOLVE = {"color": "#D55E00", "marker": "s", "linestyle": "--"}
PANELS = (
    (
        "mean loss of a token",
        (("meta-reasoning", "loss_meta", META), ("solving", "loss_solve", SOLVE)),
    ),
    ("weight", (("a, of meta-reasoning", "a", META), ("b, of solving", "b", SOLVE))),
)


def draw_phases(name: str, steps: list[PhaseStep]) -> Figure:
    """Draw a run's losses and weights over its steps, with a line where a phase begins."""
    figure = Figure(figsize=(8, 6.5), facecolor="white", layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for axes, (label, curves) in zip(panels, PANELS, strict=True):
        dress(axes, label)
        for title, value, style in curves:
            # None breaks a line where a phase skips the set
            numbers = [getattr(step, value) for step in steps]
            axes.plot(
                [step.step for step in steps],
                [float("nan") if number is None else number for number in numbers],
                label=title,
                linewidth=2,
                markersize=5,
                markevery=max(1, len(steps) // 24),
                **style,
            )
        legend(axes)
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])  # room for the phases' names
    _mark_phases(panels, steps)
    panels[-1].set_xlabel("step", color=INK, fontsize=11)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels()
    figure.suptitle(name, x=0.015, ha="left", fontsize=13, color=INK)
    return figure


def _mark_phases(panels: list[Axes], steps: list[PhaseStep]) -> None:
    for first, phase in phase_starts(steps):
        for axes in panels:
            axes.axvline(first - 0.5, color="#999999", linewidth=1, linestyle=":")
        panels[0].annotate(
            f"{phase}: {PHASE_NAMES[phase - 1]}",
            (first - 0.5, 1),
            xycoords=panels[0].get_xaxis_transform(),
            xytext=(4, -12),
            textcoords="offset points",
            fontsize=10,
            color=INK,
        )


def phase_table(name: str, steps: list[PhaseStep]) -> Table:
    """Return the steps as a table."""
    table = Table(title=name, title_justify="left")
    for header in ("step", "phase", "loss of meta-reasoning", "loss of solving", "a", "b"):
        table.add_column(header, justify="right")
    for step in steps:
        values = (step.loss_meta, step.loss_solve, step.a, step.b)
        cells = ("-" if value is None else f"{value:.4f}" for value in values)
        table.add_row(str(step.step), str(step.phase), *cells)
    return table


def phase_summary(steps: list[PhaseStep]) -> str:
    """Return one line: the first and last loss of each set, and a and b from start to end."""
    moves = []
    for name, value in (
        ("loss of meta-reasoning", "loss_meta"),
        ("loss of solving", "loss_solve"),
        ("a", "a"),
        ("b", "b"),
    ):
        numbers = [x for step in steps if (x := getattr(step, value)) is not None]
        if numbers:
            moves.append(f"{name} {numbers[0]:.4f} -> {numbers[-1]:.4f}")
    return f"{len(steps)} logged steps; first -> last: {', '.join(moves)}"
