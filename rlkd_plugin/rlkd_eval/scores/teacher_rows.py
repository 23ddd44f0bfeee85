"""Reads the teacher of a problem from the columns of a row in our own format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlkd_plugin.engines.scoring import BranchText, Sample
from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.texts import has_reasoning
from rlkd_plugin.rlkd_data.rows.branches import BRANCHES, STRUCTURES, read_branches
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of

COLUMNS = ("teacher_reasoning", "teacher_structure", BRANCHES)
"""The columns of a teacher; one of them is enough."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A problem and its teacher's paths; the texts are unchanged.

    Attributes:
        problem: the problem.
        domain: its domain.
        branches: the teacher's paths, at least one; one may have only its structure.
    """

    problem: str
    domain: str
    branches: tuple[BranchText, ...]

    def sample(self, completion: str, most: int) -> Sample:
        """Return a completion with its teacher's first paths, `most` of them."""
        first, *others = self.branches[:most]
        return Sample(
            completion,
            self.problem,
            self.domain,
            first.reasoning,
            first.structure,
            tuple(others),
        )

    @property
    def texts(self) -> list[str]:
        """The texts that identify this teacher."""
        branches = [(one.reasoning, one.structure or "") for one in self.branches]
        return [self.problem, self.domain, *(text for branch in branches for text in branch)]


def read_teacher(raw: Mapping[str, Any]) -> Teacher | None:
    """Return the teacher of a row, None where all its columns are empty.

    The paths are `teacher_reasoning`, then those of `teacher_branches`.

    Raises:
        FormatError: if a value is not allowed.
    """
    if all(raw.get(name) in (None, "", []) for name in COLUMNS):
        return None
    first = BranchText(_text(raw, "teacher_reasoning") or "", _text(raw, "teacher_structure"))
    columns = read_branches(raw)
    paths = columns.get(BRANCHES, [])
    known = columns.get(STRUCTURES, [None] * len(paths))
    branches = [BranchText(*branch) for branch in zip(paths, known, strict=True)]
    if branches and (first.reasoning or not first.structure):
        # the first branch is `teacher_reasoning`, to which `teacher_structure` belongs
        first = BranchText(first.reasoning or branches[0].reasoning, first.structure or known[0])
        branches = branches[1:]
    others = (branch for branch in branches if has_reasoning(branch.reasoning))
    return Teacher(_problem(raw), domain_or_math(raw), (first, *others))


def _problem(raw: Mapping[str, Any]) -> str:
    text = text_of(raw, "problem")
    return raw["problem"] if isinstance(raw["problem"], str) else text


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    """Return a column's text unchanged, None where it is empty.

    Raises:
        FormatError: if it is not a text.
    """
    value = raw.get(name)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{name} is not a text: {value!r:.200}")
    return value or None
