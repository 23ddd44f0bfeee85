"""Shows a student's steps next to the teacher's, with the verdicts of Algorithm 1."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlkd_plugin.engines.reward_scale import RewardScale
from rlkd_plugin.engines.trace import Side, TraceRow, VerdictRow
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_eval.report.walk_ends import explain

NAMES = {"meta_reasoning": "plan", "sub_problem": "question", "answer": "answer"}
"""Short names of a step's fields."""
VISIBLE = {n: chr(0x2400 + n) for n in range(32) if chr(n) not in "\t\n"} | {0x7F: "\u2421"}
VISIBLE |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
"""Visible signs for control characters of a model's text, which a terminal would obey."""


def show_alignment(row: TraceRow, scale: RewardScale, console: Console) -> None:
    """Print the alignment of one pair, its reward on both scales, and what ended the walk.

    Args:
        row: the pair.
        scale: of the settings; its price of extra steps counts on both scales.
        console: where to print.
    """
    if row.teacher.steps or row.student.steps:
        console.print(_steps_table(row))
    for who, side in (("teacher", row.teacher), ("student", row.student)):
        if side.final_answer:
            console.print(_verbatim(f"{who}'s final answer: {side.final_answer}"), soft_wrap=True)
    scores = " + ".join(f"{score:g}" for score in row.step_scores) or "0"
    console.print(f"step scores: {scores} = {row.total:g}")
    if row.reward is None:
        console.print("reward: none, as the teacher has no structure")
    else:
        n, m = len(row.teacher.steps), len(row.student.steps)
        for name, words in (("steps", f"in [0, {n}], the paper's"), ("teacher", "in [0, 1]")):
            on_scale = RewardScale(name, scale.extra_steps)  # type: ignore[arg-type]
            console.print(f"reward: {on_scale.reward(row.total, n, m):g} {words} ({name})")
    console.print(_verbatim(f"ended: {explain(row)}"), soft_wrap=True)


def _steps_table(row: TraceRow) -> Table:
    table = Table("step", "", "teacher", "student", "match", "score")
    table.columns[2].ratio = table.columns[3].ratio = 1
    for column in table.columns:
        column.overflow = "fold"  # long formulas and Chinese have no space to wrap at
    verdicts = {(verdict.number, verdict.field): verdict for verdict in row.verdicts}
    for number in range(1, max(len(row.teacher.steps), len(row.student.steps)) + 1):
        for place, name in enumerate(FIELDS):
            table.add_row(
                "" if place else str(number),
                NAMES[name],
                _text(row.teacher, number, place),
                _text(row.student, number, place),
                _verdict(verdicts.get((number, name))),
                "" if place else _score(row, number),
                end_section=name == FIELDS[-1],
            )
    return table


def _text(side: Side, number: int, place: int) -> Text:
    return _verbatim(side.steps[number - 1][place] if number <= len(side.steps) else "")


def _verbatim(text: str) -> Text:
    """Return a text that is printed verbatim: no markup, no emoji, no control characters."""
    return Text(text.translate(VISIBLE))


def _verdict(verdict: VerdictRow | None) -> str:
    """Return a verdict with how it was read, or "-" if none was needed."""
    if verdict is None:
        return "-"
    answer = "yes" if verdict.matched else "no"
    sure = "" if verdict.probability is None else f" {verdict.probability:.2f}"
    return f"{answer}{sure} ({verdict.source})"


def _score(row: TraceRow, number: int) -> str:
    return f"{row.step_scores[number - 1]:g}" if number <= len(row.step_scores) else "-"
