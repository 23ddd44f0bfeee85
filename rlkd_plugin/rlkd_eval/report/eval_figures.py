"""The charts of evaluations and of diversity: pass@k, the paper's Figures 3 to 5."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlkd_plugin.rlkd_eval.report.charts import Chart, line_chart
from rlkd_plugin.rlkd_eval.report.curves import Line
from rlkd_plugin.rlkd_eval.result_values import Interval, Measure
from rlkd_plugin.rlkd_eval.results import FIXED_N, Diversity, Evaluation, SetResult


@dataclass(frozen=True)
class _OverSteps:
    """A result that is drawn over training steps, a chart for each test set."""

    key: str
    title: str
    unit: str
    read: Callable[[SetResult], Interval | Measure | None]
    percent: bool = False


_PASS_AT_1 = _OverSteps("over-steps", "pass@1 over training", "pass@1", lambda r: r.pass_at_1, True)
_HELD_OUT = (
    _OverSteps("held-out-structure", "Structure reward", "mean reward", lambda r: r.structure),
    _OverSteps("held-out-depth", "Matched depth", "steps of the teacher", lambda r: r.depth),
    _OverSteps(
        "held-out-beyond",
        "More steps than the teacher",
        "share of responses",
        lambda r: r.beyond_teacher,
        True,
    ),
)


def pass_at_k(evaluations: Sequence[Evaluation]) -> list[Chart]:
    """Return pass@k over k, a chart for each test set that has more than pass@1."""
    charts = []
    for place, (key, name) in enumerate(set_names(evaluations).items()):
        lines = []
        for evaluation in evaluations:
            if key in evaluation.sets:
                curve = evaluation.sets[key].curve()
                points = [(k, point.value) for k, point in curve]
                lines.append(Line(evaluation.label, points, [point for _, point in curve]))
        if any(len(line.points) > 1 for line in lines):
            charts.append(
                line_chart(
                    f"pass-at-k-{place}",
                    f"pass@k: {name}",
                    ("k", "pass@k"),
                    lines,
                    note="bars: 95% intervals",
                    percent=True,
                    log_x=True,
                )
            )
    return charts


def over_steps(evaluations: Sequence[Evaluation]) -> list[Chart]:
    """Return Figure 4: pass@1 over training steps, a line for each run, a chart for each set."""
    return _over_steps(evaluations, _PASS_AT_1)


def held_out(evaluations: Sequence[Evaluation]) -> list[Chart]:
    """Return Figure 3 on held-out problems: the structures of responses over training steps.

    Reward, matched depth and steps beyond the teacher's, where evaluations have them.
    """
    return [chart for value in _HELD_OUT for chart in _over_steps(evaluations, value)]


def _over_steps(evaluations: Sequence[Evaluation], value: _OverSteps) -> list[Chart]:
    """Return a chart for each test set with a value from some checkpoint."""
    charts = []
    for place, (key, name) in enumerate(set_names(evaluations).items()):
        if lines := _lines_of_runs(evaluations, key, value):
            charts.append(
                line_chart(
                    f"{value.key}-{place}",
                    f"{value.title}: {name}",
                    ("training step", value.unit),
                    lines,
                    note="bars: 95% intervals",
                    percent=value.percent,
                )
            )
    return charts


def _lines_of_runs(evaluations: Sequence[Evaluation], key: str, value: _OverSteps) -> list[Line]:
    """Return a value's line over the steps of each run; the start of a run is step 0."""
    runs: dict[str, dict[int, Interval | Measure]] = {}
    for evaluation in evaluations:
        result = value.read(evaluation.sets[key]) if key in evaluation.sets else None
        if evaluation.run and evaluation.step is not None and result is not None:
            runs.setdefault(evaluation.run, {})[evaluation.step] = result
    lines = []
    for run, found in runs.items():
        ordered = sorted(found.items())
        points = [(step, result.value) for step, result in ordered]
        lines.append(Line(run, points, [result for _, result in ordered]))
    return lines


def diversity(measured: Sequence[Diversity]) -> list[Chart]:
    """Return Figure 5: how much responses differ at each meta-reasoning step.

    D at a fixed number of responses comes first, then the paper's plain form; a file of an older
    version has the plain form alone.
    """
    plain = [
        Line(one.label, [(step.step, step.diversity) for step in one.steps]) for one in measured
    ]
    fixed = [
        Line(one.label, [(step.step, step.fixed) for step in one.steps])
        for one in measured
        if any(step.fixed is not None for step in one.steps)
    ]
    common = _notes(measured)
    charts = []
    if fixed:
        without = {one.label for one in measured} - {line.name for line in fixed}
        notes = [
            f"D from the mean cosine of two responses, at {FIXED_N} responses for every step",
            *(f"{label} has the plain form alone" for label in sorted(without)),
            *common,
        ]
        charts.append(_diversity_chart("diversity", "Diversity of responses", fixed, notes))
    if measured:
        title = "Diversity of responses, plain form"
        notes = [
            "D as in section 4.3, over the responses that have the step: fewer make it smaller",
            *common,
        ]
        charts.append(_diversity_chart("diversity-plain", title, plain, notes))
    return charts


def _diversity_chart(name: str, title: str, lines: Sequence[Line], notes: Sequence[str]) -> Chart:
    axes = ("meta-reasoning step", "diversity")
    return line_chart(name, title, axes, lines, note="; ".join(notes))


def _notes(measured: Sequence[Diversity]) -> list[str]:
    """Return notes on the measurements, and one where they cannot be compared.

    A note that holds for all of them is given once.
    """
    drawn = [_describe(one) for one in measured]
    notes = []
    if len({one.embedding for one in measured}) > 1:
        notes.append("embedded by different models: the heights cannot be compared")
    together = len(measured) > 1 and len(set(drawn)) == 1
    if together:
        notes.append(f"each model: {drawn[0]}")
    for one, how in zip(measured, drawn, strict=True):
        parts = [*([] if together else [how]), *_losses(one)]
        if parts:
            notes.append(f"{one.label}: {', '.join(parts)}")
    return notes


def _describe(one: Diversity) -> str:
    """Describe the drawing and the embedding."""
    return (
        f"{one.samples} responses to each of {one.questions} questions"
        + (f" at temperature {one.temperature:g}" if one.temperature is not None else "")
        + (f", embedded by {one.embedding}" if one.embedding else "")
    )


def _losses(one: Diversity) -> list[str]:
    """Return how many responses lost a part of their steps."""
    counts = (
        (one.cut_off, "responses cut off at the length limit"),
        (one.clipped, "of paths too long for the GSRM, and clipped"),
        (one.cut, "of structures cut at the GSRM's token limit"),
    )
    return [f"{count} {what}" for count, what in counts if count]


def set_names(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Return the names of the test sets by key, in the order of the evaluations."""
    return {key: result.name for e in evaluations for key, result in e.sets.items()}
