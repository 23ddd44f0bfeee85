"""Shows the diversity of models step by step, side by side."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_eval.result_values import distinguish
from rlkd_plugin.rlkd_eval.results import (
    FIXED_N,
    Diversity,
    DiversityStep,
    read_diversity,
)


def show_diversity(folders: Sequence[Path], console: Console) -> None:
    """Print D of each step, and the responses behind it.

    Raises:
        RlkdError: if a folder holds no result.
    """
    results = distinguish([(str(folder), read_diversity(folder)) for folder in folders])
    title = f"Diversity D of each step at {FIXED_N} responses a question, and the plain form"
    table = Table(title=title, title_justify="left")
    table.add_column("step", justify="right")
    for result in results:
        at = "" if result.temperature is None else f"\nat {result.temperature:g}"
        table.add_column(f"{result.label}{at}", justify="right")
        table.add_column("plain", justify="right")
        table.add_column("responses", justify="right")
    at_step = [{step.step: step for step in result.steps} for result in results]
    for number in sorted(set().union(*at_step)):
        cells = [str(number)]
        for steps in at_step:
            cells += _cells(steps.get(number))
        table.add_row(*cells)
    console.print(table)
    for result in results:
        console.print(
            f"{result.label}: {result.responses} responses, {result.questions} questions, "
            f"{result.cut_off} cut off; structures: {result.statuses}{_count_lost(result)}"
        )
    console.print(
        f"D at {FIXED_N} responses, with its standard error over questions: from the mean cosine "
        "of two responses' steps, however many responses have the step; 1: all alike. plain: 1 / "
        "mean cosine of the steps to their mean (section 4.3), which is smaller where fewer "
        "responses have the step. A response counts at each step that it has, a question at each "
        "step that two responses have."
    )
    if any(step.fixed is None for result in results for step in result.steps):
        console.print(
            f"Without D at {FIXED_N} responses: a file of an older version (give its `rlkd "
            "diversity` again), or too few responses that differ too much."
        )


def _cells(step: DiversityStep | None) -> list[str]:
    """Return D in both forms, and the responses behind it."""
    if step is None:
        return ["-", "-", "-"]
    fixed = "-" if step.fixed is None else f"{step.fixed:.4f}"
    if step.fixed_error is not None:
        fixed += f" ± {step.fixed_error:.4f}"
    return [fixed, f"{step.diversity:.4f}", str(step.responses)]


def _count_lost(result: Diversity) -> str:
    """Return how many responses lost steps on their way to a structure; nothing if none did."""
    lost = {"of clipped paths": result.clipped, "cut at the GSRM's token limit": result.cut}
    return "".join(f", {count} {what}" for what, count in lost.items() if count)
