"""Counts what a batch asked and what became of it, for the judgment over the run (`run_window`).

What several completions share was asked once, and counts once. What a text rule decided, what was
known of a teacher, and a path in which there is nothing to decompose, was not asked.
"""

from collections.abc import Hashable, Iterable, Sequence

import msgspec

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.scoring import Score

EXAMPLES = 3
"""Examples kept of each kind: enough to tell one odd text from a habit."""
EXAMPLE_CHARS = 160
"""Characters kept of an example: one line of a terminal or two."""


class RoundCounts(msgspec.Struct, frozen=True):
    """One batch, or the batches of all ranks together.

    Attributes:
        questions: decompositions and verdicts for which a model was asked.
        refused: those of them that were rejected, or had an unreadable verdict.
        students: decompositions of students for which a model was asked and not rejected.
        undecomposable: those of them that gave no structure.
        prompts: prompts that the run has not seen before.
        without_teacher: prompts whose teacher turned out to have no structure; negative where one
            turned out to have one after all.
        refusals: what some refusals looked like.
        replies: how some replies that are no structure begin.
        teachers: why some teachers have no structure.
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
        """Return the sum; of the examples the newest, `EXAMPLES` of each kind."""
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
    """Return what a batch asked of the models; its prompts are `teachers.TeacherRecord`'s."""
    asked: dict[Hashable, str | None] = {}  # each question, and what its refusal looked like
    students: dict[int, Decomposition] = {}
    for score in scores:
        for side in (score.teacher, score.student):
            if side.asked:  # equal paths share the very object
                asked[id(side)] = _refused_path(side)
        if score.student.asked and score.student.status != "refused":
            students[id(score.student)] = score.student
        for question, verdict in score.verdicts:
            if verdict.source != "rule":
                refusal = None
                if verdict.source == "refused":
                    why = verdict.reason or f"no verdict on {question.student!r}"
                    refusal = f"judge, {question.field}: {shorten(why)}"
                asked[question.field, question.teacher, question.student] = refusal
    refusals = [refusal for refusal in asked.values() if refusal is not None]
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
    """Return the beginning of a text, on one line; half a surrogate pair becomes "?"."""
    text = text[: 4 * EXAMPLE_CHARS].encode("utf-8", errors="replace").decode("utf-8")
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE_CHARS else text[:EXAMPLE_CHARS].rstrip() + " ..."


def _refused_path(side: Decomposition) -> str | None:
    if side.status != "refused":
        return None
    return f"GSRM: {shorten(side.reply) or 'no reason given'}"
