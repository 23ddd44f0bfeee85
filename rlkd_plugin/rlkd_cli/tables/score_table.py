"""Shows what `rlkd score` found: the mean reward, how far the steps match, and what failed."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_data.jobs.cost import Cost
from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport

NAMES = {
    "undecomposable": "without a structure of the student: reward 0",
    "refused": "with a text that a model rejected; the next run scores it again",
    "no_teacher": "without a structure of the teacher: no reward",
    "cut_off": "cut off at the length limit",
    "beyond_teacher": "that continue after the teacher's last step",
    "other_branch": "won by another branch of the teacher than the first",
}
"""Row labels for the counts of completions, by name in `Figures.counts`."""


@dataclass(frozen=True)
class ScoreCost(Cost):
    """The cost of scoring, which shows the completions too: a row of a source may have many."""

    report: ScoreReport = field(kw_only=True)

    def progress(self) -> str:
        """Return the completions, tokens and money so far, in one line."""
        done = f"{self.report.scored + self.report.done_before:,}"
        known = f" of {self.report.total:,}" if self.report.total else ""
        return ", ".join(filter(None, (f"{done}{known} completions", super().progress())))


def show_scores(report: ScoreReport, console: Console) -> None:
    """Print the figures of all completions in OUT, and what became of those of this run."""
    figures = report.figures
    table = Table(show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{figures.rows:,}", "completions")
    table.add_row(_number(figures.mean_reward), "mean reward, on the scale of the settings")
    table.add_row(_share(figures.mean_share), "of the teacher's steps: the mean of r / n")
    table.add_row(_number(figures.mean_depth), "mean matched depth, in steps")
    for name in FIELDS:
        words = f"of the steps reached with a matched {name.replace('_', '-')}"
        table.add_row(_share(figures.matched_share(name)), words)
    for name, words in NAMES.items():
        if count := figures.counts[name]:
            share = _share(count / figures.rows)
            table.add_row(f"{count:,}", f"{words} ({share})")
    for reason, count in report.refused.most_common():
        table.add_row(f"{count:,}", f"refused: {reason}")
    if report.left_over:
        words = "in OUT from completions that are not in the source (any more)"
        table.add_row(f"{report.left_over:,}", words)
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
