"""Explains a completion's result against the branches of its teacher that did not win.

Not here: a single teacher, and the branch that won (`walk_ends`).
"""

from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.rlkd_eval.report.walk_ends import disagreement, explain, quote_reply

NOT_KEPT = (
    "the trace has only the student's steps that were compared with branches that could still win"
)


@dataclass(frozen=True, slots=True)
class OtherBranch:
    """A branch that did not win.

    Attributes:
        number: of the branch, from 1.
        how: compared to the end of the walk, dropped since it could no longer win, or
            without structure.
        row: the completion as if this branch were its only teacher.
        least: the lowest reward, on the run's scale, that it could have had.
        most: the highest.
    """

    number: int
    how: Literal["compared", "dropped", "no_structure"]
    row: TraceRow
    least: float
    most: float

    @property
    def wrong(self) -> str:
        """The disagreement with Algorithm 1, as `disagreement`; for finished walks alone."""
        is_known = self.how == "compared" and not self.lacks_student
        return disagreement(self.row) if is_known else ""

    @property
    def lacks_student(self) -> bool:
        """Whether there are verdicts on fields of the student that the trace does not have."""
        student = self.row.student
        steps = len(student.steps) + bool(student.unfinished)
        return any(verdict.number > steps for verdict in self.row.verdicts)


def other_branches(row: TraceRow) -> list[OtherBranch]:
    """Return the branches that did not win, in their order."""
    found = []
    for place, branch in enumerate(row.branches):
        if place == row.branch:
            continue
        alone = replace(
            row,
            teacher=branch.teacher,
            verdicts=branch.verdicts,
            step_scores=branch.step_scores,
            total=sum(branch.step_scores),
            reward=branch.most,
            beyond_teacher=False,
            branch=0,
            branches=(),
        )
        how = "no_structure"
        if branch.teacher.steps:
            how = "compared" if branch.step_scores else "dropped"
        found.append(OtherBranch(place + 1, how, alone, branch.least, branch.most))
    return found


def explain_branch(branch: OtherBranch, best: float) -> str:
    """Explain why the comparison with a branch ended, was dropped, or did not take place.

    Args:
        branch: one that did not win.
        best: the reward of the one that won, on the run's scale.
    """
    teacher = branch.row.teacher
    if branch.how == "no_structure":
        parts = [f"this branch has no structure (status: {teacher.status})"]
        if teacher.reply:
            parts.append(quote_reply("teacher", teacher))
    elif branch.how == "dropped":
        parts = [f"it could earn at most {_number(branch.most)}, the winner has {_number(best)}"]
    else:
        parts = [explain(branch.row)]
    if branch.lacks_student:
        parts.append(NOT_KEPT)
    return "; ".join(parts)


def _number(value: float) -> str:
    return f"{round(value, 3):g}"
