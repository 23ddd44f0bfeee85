"""Counts the prompts of a run without a teacher structure, with the reasons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.round_counts import RoundCounts, newest, shorten
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path


@dataclass
class TeacherRecord:
    """The prompts that this rank has counted; a repeated prompt counts once."""

    known: dict[int, bool] = field(default_factory=dict)

    def count(self, samples: Sequence[Sample], scores: Sequence[Score]) -> RoundCounts:
        """Record the prompts of a batch, and return the change in the run's counts."""
        reasons: dict[int, str] = {}
        changed = Counter[bool]()  # of the prompts with (True) and without (False) a structure
        for sample, score in zip(samples, scores, strict=True):
            prompt = hash((sample.problem, sample.teacher_reasoning, sample.teacher_structure))
            has_one = score.teacher.structure is not None
            if not has_one:
                why, problem = why_missing(sample, score.teacher), shorten(sample.problem)
                reasons[prompt] = f"{why}, for the problem {problem!r}"
            if prompt in self.known:
                changed[self.known[prompt]] -= 1
            changed[has_one] += 1
            self.known[prompt] = has_one
        return RoundCounts(
            prompts=changed.total(),
            without_teacher=changed[False],
            teachers=newest(reasons.values()),
        )


def why_missing(sample: Sample, teacher: Decomposition) -> str:
    """Return why a teacher has no structure: the column to correct, with its value.

    Args:
        sample: the row.
        teacher: the decomposition of its first branch; no other branch has a structure either.
    """
    why = _why_first_missing(sample, teacher)
    if sample.more_branches:
        others = len(sample.more_branches)
        why += f"; its further branches (teacher_branches, {others}) have no structure either"
    return why


def _why_first_missing(sample: Sample, teacher: Decomposition) -> str:
    structure = sample.teacher_structure
    unreadable = ""
    if structure and structure.strip():
        unreadable = f"its teacher_structure cannot be read ({shorten(structure)!r})"
    if not has_reasoning(teacher_path(sample.teacher_reasoning)):
        reasoning = shorten(sample.teacher_reasoning)
        path = f"there is no path in its teacher_reasoning ({reasoning!r})"
        return f"{unreadable} and {path}" if unreadable else path
    words = f" ({shorten(teacher.reply)!r})" if teacher.reply else ""
    path = {
        "refused": f"the GSRM rejected the path of its teacher_reasoning{words}",
        "undecomposable": f"the path of its teacher_reasoning gave no structure{words}; "
        "`rlkd check` shows what the GSRM does",
    }[teacher.status]
    return f"{unreadable}, and {path}" if unreadable else path
