"""Shows the diversity of models step by step, side by side."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_eval.results import Diversity, distinguish, read_diversity


def show_diversity(folders: Sequence[Path], console: Console) -> None:
    """Print D of each step, and the responses behind it.

    Raises:
        RlkdError: if a folder holds no result.
    """
    results = distinguish([(str(folder), read_diversity(folder)) for folder in folders])
    table = Table(title="Diversity D of each step", title_justify="left")
    table.add_column("step", justify="right")
    for result in results:
        at = "" if result.temperature is None else f"\nat {result.temperature:g}"
        table.add_column(f"{result.label}{at}", justify="right")
        table.add_column("responses", justify="right")
    at_step = [{step.step: step for step in result.steps} for result in results]
    for number in sorted(set().union(*at_step)):
        cells = [str(number)]
        for steps in at_step:
            step = steps.get(number)
            cells += [f"{step.diversity:.4f}", str(step.responses)] if step else ["-", "-"]
        table.add_row(*cells)
    console.print(table)
    for result in results:
        console.print(
            f"{result.label}: {result.responses} responses, {result.questions} questions, "
            f"{result.cut_off} cut off; structures: {result.statuses}{_lost(result)}"
        )
    console.print(
        "D = 1 / mean cosine of the responses' steps to their mean (section 4.3); 1: all alike. A "
        "response counts at the steps that it has, a question at those that two responses have."
    )


def _lost(result: Diversity) -> str:
    """Return how many responses lost steps on their way to a structure; nothing if none did."""
    lost = {"of clipped paths": result.clipped, "cut at the GSRM's token limit": result.cut}
    return "".join(f", {count} {what}" for what, count in lost.items() if count)
