"""A completion's structure as cells of the table of completions, one a column."""

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.engines.walk_end import walk_end

Cell = int | str | bool

COLUMNS = (
    "rlkd/teacher_steps",
    "rlkd/student_steps",
    "rlkd/stopped_early",
    "rlkd/matched_depth",
    "rlkd/step_scores",
    "rlkd/ended_by",
)
"""Names of the columns. The slash keeps them apart from rewards, whose names are those of classes
and of folders."""


def structure_cells(row: TraceRow) -> tuple[Cell, ...]:
    """Return the cells of a completion, in the order of `COLUMNS`.

    A column holds one type alone, as trackers require. A side without a structure has 0 steps, and
    the last column says why.
    """
    return (
        len(row.teacher.steps),
        len(row.student.steps),
        row.student.stopped_early,
        sum(score > 0 for score in row.step_scores),
        " ".join(f"{score:g}" for score in row.step_scores),
        walk_end(row),
    )
