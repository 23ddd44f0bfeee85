"""Counts the requests of a batch and their failures, for the limits of a run (`run_window`).

A request that several completions share counts once. Verdicts by a text rule, teacher structures
that were known, and paths without reasoning need no request and do not count.
"""

from collections.abc import Hashable, Iterable, Sequence

import msgspec

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.scoring import Score

EXAMPLES = 3
"""Examples kept of each kind: enough to distinguish one odd text from a pattern."""
EXAMPLE_CHARS = 160
"""Characters kept of an example: one or two lines of a terminal."""


class RoundCounts(msgspec.Struct, frozen=True):
    """One batch, or the batches of all ranks together.

    Attributes:
        questions: decompositions and verdicts requested from a model.
        refused: of these, the rejected requests and unreadable verdicts.
        students: decompositions of students requested from a model and not rejected.
        undecomposable: of these, the ones without a structure.
        prompts: prompts that are new in the run.
        without_teacher: the change in the number of prompts without a teacher structure; negative
            if a prompt has one after all.
        refusals: examples of rejections.
        replies: beginnings of replies that are no structure.
        teachers: reasons why teachers have no structure.
    """

    questions: int = 0
    refused: int = 0
    students: int = 0
    undecomposable: int = 0
    prompts: int = 0
    without_teacher: int = 0
    refusals: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()

    def __add__(self, other: "RoundCounts") -> "RoundCounts":
        """Return the sum of the counts, and the newest `EXAMPLES` examples of each kind."""
        return RoundCounts(
            self.questions + other.questions,
            self.refused + other.refused,
            self.students + other.students,
            self.undecomposable + other.undecomposable,
            self.prompts + other.prompts,
            self.without_teacher + other.without_teacher,
            newest(self.refusals + other.refusals),
            newest(self.replies + other.replies),
            newest(self.teachers + other.teachers),
        )


def count_questions(scores: Sequence[Score]) -> RoundCounts:
    """Return the counts of a batch, except its prompts (`teachers.TeacherRecord`)."""
    asked: dict[Hashable, str | None] = {}  # each question with its rejection
    students: dict[int, Decomposition] = {}
    for score in scores:
        for side in (score.teacher, score.student):
            if side.asked:  # equal paths share one object
                asked[id(side)] = _path_rejection(side)
        if score.student.asked and score.student.status != "refused":
            students[id(score.student)] = score.student
        for question, verdict in score.verdicts:
            if verdict.source != "rule":
                rejection = None
                if verdict.source == "refused":
                    why = verdict.reason or f"no verdict on {question.student!r}"
                    rejection = f"judge, {question.field}: {shorten(why)}"
                asked[question.field, question.teacher, question.student] = rejection
    refusals = [rejection for rejection in asked.values() if rejection is not None]
    failed = [side for side in students.values() if side.structure is None]
    return RoundCounts(
        questions=len(asked),
        refused=len(refusals),
        students=len(students),
        undecomposable=len(failed),
        refusals=newest(refusals),
        replies=newest(shorten(side.reply) or "(nothing)" for side in failed),
    )


def newest(examples: Iterable[str]) -> tuple[str, ...]:
    """Return the last `EXAMPLES` different examples."""
    return tuple(list(dict.fromkeys(examples))[-EXAMPLES:])


def shorten(text: str) -> str:
    """Return the beginning of a text on one line; a lone surrogate becomes "?"."""
    text = text[: 4 * EXAMPLE_CHARS].encode("utf-8", errors="replace").decode("utf-8")
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE_CHARS else text[:EXAMPLE_CHARS].rstrip() + " ..."


def _path_rejection(side: Decomposition) -> str | None:
    if side.status != "refused":
        return None
    return f"GSRM: {shorten(side.reply) or 'no reason given'}"
