"""The charts of runs: the paper's Figure 3, reward health, the GSRM's training, endings."""

from collections import Counter
from collections.abc import Sequence

from rlkd_plugin.engines.walk_end import WalkEnd
from rlkd_plugin.rlkd_eval.phase_log import PHASE_NAMES, phase_starts
from rlkd_plugin.rlkd_eval.report.charts import Chart, bar_chart, line_chart
from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.report.sources import COSTS, HEALTH, OFF_POLICY, SHARES, Source
from rlkd_plugin.rlkd_eval.report.trace_sample import Step
from rlkd_plugin.rlkd_eval.report.walk_ends import ENDINGS

LEAST_HEIGHTS = dict.fromkeys(OFF_POLICY, 1e-6)
"""Minimum upper ends of axes without shares: below them is rounding error."""
NOTES = {
    "rlkd/beyond_teacher": "completions that match the teacher's meta-reasonings through its last "
    "step and begin another; Algorithm 1 neither rewards nor prices further steps, "
    "RLKD_EXTRA_STEPS=divide prices them",
}
"""The notes under charts of health."""
BARS = 20  # of the chart of endings; more steps share a bar

CURVES = (
    ("accuracy", "Accuracy", "share of right answers"),
    ("reward", "Total reward", "mean reward"),
    ("structure", "Structure reward", "mean reward"),
    ("depth", "Matched depth", "steps of the teacher"),
)
"""Figure 3: value of a step, title, label of y."""


def training(sources: Sequence[Source]) -> list[Chart]:
    """Return Figure 3: the metrics over the steps of GRPO, runs beside each other."""
    runs = [source for source in sources if source.steps]
    return [chart for value, title, unit in CURVES for chart in _of_steps(runs, value, title, unit)]


def _of_steps(
    runs: Sequence[Source], value: str, title: str, unit: str, percent: bool = False
) -> list[Chart]:
    """Return the chart of a value of `StepRecord`, or none where no log has it."""
    lines = [
        Line(run.name, [(s.step, y) for s in run.steps if (y := getattr(s, value)) is not None])
        for run in runs
    ]
    lines = [line for line in lines if line.points]
    axes = ("step", unit)
    chart = line_chart(f"run-{value}", title, axes, lines, percent=percent, least=0.25)
    return [chart] if lines else []


def health(sources: Sequence[Source]) -> tuple[list[Chart], list[str]]:
    """Return the charts of health that are not all zero, and notes on the others."""
    runs = [source for source in sources if source.steps]
    charts, zero = [], []
    for key, title in HEALTH.items():
        lines = [Line(run.name, run.health[key]) for run in runs if key in run.health]
        if not any(y for line in lines for _, y in line.points):
            zero += [title] if lines else []
            continue
        is_share = key not in COSTS | OFF_POLICY
        least = 0.05 if is_share else LEAST_HEIGHTS.get(key, 0.0)
        charts.append(
            line_chart(
                f"health-{key.partition('/')[2]}",
                title[0].upper() + title[1:],
                ("step", _unit(key)),
                lines,
                note=NOTES.get(key, ""),
                percent=is_share,
                least=least,
            )
        )
    charts += [
        *_of_steps(runs, "spread", "Groups whose completions differ in reward", "share", True),
        *_of_steps(runs, "seconds", "Seconds of a whole training step", "seconds of a step"),
    ]
    notes = [f"Zero in every step: {'; '.join(zero)}."] if zero else []
    lacking = [run.name for run in runs if run.health.keys() <= OFF_POLICY.keys()]
    if lacking:
        notes.append(f"No rlkd/* metrics in the log of {', '.join(lacking)} (see its remarks).")
    return charts, notes


def _unit(key: str) -> str:
    """Return the label of the axis."""
    if key in OFF_POLICY:
        return "nats a token"
    if key in COSTS:
        return f"{key.partition('/')[2]} of a step"
    return f"share of {'completions' if key in SHARES else 'teachers'}"


def structured_training(sources: Sequence[Source]) -> list[Chart]:
    """Return losses and weights of structured training, run by run."""
    charts = []
    for place, run in enumerate(source for source in sources if source.phases):
        for key, title, unit, parts in (
            (
                "loss",
                "Loss",
                "mean loss of a token",
                (("meta-reasoning", "loss_meta"), ("solving", "loss_solve")),
            ),
            ("weights", "Weights a and b", "weight", (("a", "a"), ("b", "b"))),
        ):
            lines = [
                Line(name, [(step.step, getattr(step, value)) for step in run.phases])
                for name, value in parts
            ]
            lines = [line for line in lines if any(y is not None for _, y in line.points)]
            starts = phase_starts(list(run.phases))
            note = ", ".join(f"phase {p} from step {s}: {PHASE_NAMES[p - 1]}" for s, p in starts)
            if lines:
                chart = line_chart(
                    f"gsrm-{place}-{key}", f"{title}: {run.name}", ("step", unit), lines, note=note
                )
                charts.append(_mark_phases(chart, starts))
    return charts


def _mark_phases(chart: Chart, starts: Sequence[tuple[int, int]]) -> Chart:
    layout = chart.figure["layout"]
    layout["shapes"] = [
        {
            "type": "line",
            "x0": first - 0.5,
            "x1": first - 0.5,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"dash": "dot", "width": 1, "color": "#888888"},
        }
        for first, _ in starts
    ]
    layout["annotations"] = [
        {
            "x": first - 0.5,
            "y": 1,
            "yref": "paper",
            "xanchor": "left",
            "yanchor": "top",
            "text": f"phase {phase}",
            "showarrow": False,
            "xshift": 2,
        }
        for first, phase in starts
    ]
    return chart


def endings(sources: Sequence[Source]) -> list[Chart]:
    """Return why walks ended, over the steps of each run with traces; of all completions."""
    charts = []
    for place, run in enumerate(sources):
        if not (run.traces and run.traces.rows):
            continue
        counts: dict[int, Counter[WalkEnd]] = {}
        steps = sorted({step for step in run.traces.seen if step is not None})
        width = max(1, -(-len(steps) // BARS))
        bar_of: dict[Step, int] = {step: i // width for i, step in enumerate(steps)}
        for (step, why), count in run.traces.endings.items():
            counts.setdefault(bar_of.get(step, -1), Counter())[why] += count
        bars = sorted(counts)
        names = [
            _bar_name(steps[bar * width : (bar + 1) * width] if bar >= 0 else []) for bar in bars
        ]
        parts = {
            text: [counts[bar][why] for bar in bars]
            for why, text in ENDINGS.items()
            if any(counts[bar][why] for bar in bars)
        }
        title = f"Why the comparison ended: {run.name}"
        total = f"all {run.traces.seen.total():,} completions of the traces"
        if run.traces.branched:
            total += "; of several teacher branches the winning one counts"
        charts.append(
            bar_chart(f"endings-{place}", title, ("step", "share"), names, parts, note=total)
        )
    return charts


def _bar_name(steps: Sequence[int]) -> str:
    # a trace counts the steps done before a completion, a log the step that it is for
    if not steps:
        return "none"
    return f"{steps[0] + 1}" if len(steps) == 1 else f"{steps[0] + 1} to {steps[-1] + 1}"
