"""Derives from a trace line why the walk of Algorithm 1 ended."""

from typing import Literal

from rlkd_plugin.engines.trace import TraceRow

WalkEnd = Literal[
    "meta_reasoning",
    "student_end",
    "teacher_end",
    "undecomposable",
    "refused",
    "no_teacher",
    "unclear",
]


def walk_end(row: TraceRow) -> WalkEnd:
    """Return why the walk ended; "unclear" if the line does not show it."""
    teacher, student = row.teacher.steps, row.student.steps
    if not teacher:
        return "no_teacher"
    if not student:
        return "refused" if row.student.status == "refused" else "undecomposable"
    if row.step_scores and row.step_scores[-1] == 0:
        return "meta_reasoning"
    if len(row.step_scores) == len(teacher):
        return "teacher_end"
    is_at_end = len(row.step_scores) == len(student) < len(teacher)
    return "student_end" if is_at_end else "unclear"
