"""Shows a run for `rlkd curves`: tables of its steps and rewards, a summary, its files."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_eval.phase_chart import draw_phases, phase_summary, phase_table
from rlkd_plugin.rlkd_eval.phase_log import PhaseStep, phase_steps
from rlkd_plugin.rlkd_eval.reward_tables import ends_table, share_table
from rlkd_plugin.rlkd_eval.run_chart import draw
from rlkd_plugin.rlkd_eval.run_log import (
    LOG,
    Run,
    log_entries,
    read_run,
    run_folder,
    series,
)
from rlkd_plugin.rlkd_eval.run_rewards import read_rewards

T = TypeVar("T")

CAPTION = (
    "A row is the mean of a step's completions. Total reward: the weighted sum of all rewards. "
    "Structure reward: the score of the student's steps against the teacher's. Matched depth: the "
    "number of steps with the teacher's plan. Accuracy: the share of right final answers. Groups "
    "with spread: the share of problems whose completions differ in reward; the others teach "
    "nothing."
)
CHART = "rlkd_curves.png"
ROWS = 20  # of the table


def show(folder: Path, console: Console) -> None:
    """Print a run's tables, summary and files, and draw its chart into its folder.

    Raises:
        RlkdError: if the folder holds no log of a GRPO run or of structured training.
    """
    folder = run_folder(folder)
    entries, remarks = log_entries(folder / LOG)
    if steps := phase_steps(entries):
        show_phases(folder, steps, remarks, console)
        return
    run = read_run(folder)
    rewards = read_rewards(run.folder, run.rewards, [s.step for s in run.steps], run.traces)
    chart = run.folder / CHART
    draw(run, rewards).savefig(chart, dpi=150)
    console.print(table(run))
    for one in (share_table(rewards), ends_table(rewards)):
        if one:
            console.print(one)
    lines = [summary(run)]
    lines += [f"note: {remark}" for remark in (*run.remarks, *rewards.remarks)]
    lines.append(f"chart: {chart}")
    lines += [f"trace: {trace}" for trace in run.traces]
    for line in lines:
        console.print(line, soft_wrap=True)


def show_phases(
    folder: Path, steps: list[PhaseStep], remarks: Sequence[str], console: Console
) -> None:
    """Print the table and summary of structured training, and draw its chart."""
    chart = folder / CHART
    draw_phases(folder.name, steps).savefig(chart, dpi=150)
    rows = sample_evenly(steps, ROWS)
    some = f": {len(rows)} of its {len(steps)} steps, evenly sampled"
    console.print(phase_table(folder.name + (some if len(rows) < len(steps) else ""), rows))
    notes = [f"note: {remark}" for remark in remarks]
    for line in (phase_summary(steps), *notes, f"chart: {chart}"):
        console.print(line, soft_wrap=True)


def table(run: Run) -> Table:
    """Return the steps as a table: all of them, or evenly sampled ones where they are many."""
    steps = sample_evenly(run.steps, ROWS)
    title = run.folder.name
    if len(steps) < len(run.steps):
        title += f": {len(steps)} of its {len(run.steps)} steps, evenly sampled"
    result = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left")
    for header in (
        "step",
        "total reward",
        "structure reward",
        "matched depth",
        "accuracy",
        "groups with spread",
        "seconds",
    ):
        result.add_column(header, justify="right")
    for s in steps:
        values = (s.reward, s.structure, s.depth, s.accuracy, s.spread)
        numbers = [_cell(value, 3) for value in values]
        result.add_row(str(s.step), *numbers, _cell(s.seconds, 1))
    return result


def sample_evenly(steps: Sequence[T], most: int) -> list[T]:
    """Return at most `most` steps at even distances, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def summary(run: Run) -> str:
    """Return one line: the change of each number from the run's start to its end."""
    edge = max(1, min(10, len(run.steps) // 3))
    moves = []
    for name, value in (
        ("total reward", "reward"),
        ("structure reward", "structure"),
        ("matched depth", "depth"),
        ("accuracy", "accuracy"),
    ):
        if numbers := [number for _, number in series(run, value)]:
            moves.append(f"{name} {fmean(numbers[:edge]):.3f} -> {fmean(numbers[-edge:]):.3f}")
    count = "1 step" if len(run.steps) == 1 else f"{len(run.steps)} steps"
    which = "first -> last step" if edge == 1 else f"mean of the first -> last {edge} steps"
    seconds = sum(number for _, number in series(run, "seconds"))
    return f"{count} in {seconds:.0f} s; {which}: {', '.join(moves)}"


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
