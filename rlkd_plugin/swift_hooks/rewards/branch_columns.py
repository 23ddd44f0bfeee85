"""Reads the columns `teacher_branches` and `teacher_structures`: further paths of the teacher."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rlkd_plugin.engines.scoring import BranchText
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.texts import has_reasoning, normalise, teacher_path

MISSING = (
    "RLKD_BRANCHES={count} needs the column teacher_branches, the teacher's paths of each problem; "
    "`rlkd prepare openr1-math --branches {count}` makes it (RLKD_BRANCHES=1 needs none)"
)


def branches_of(
    row: int, first: BranchText, branches: Any, structures: Any, count: int
) -> tuple[BranchText, ...]:
    """Return the paths of a row, at least one: distinct, in their order, at most `count`.

    Of duplicates the first is kept, with the first structure that one of them has. A path without
    reasoning is skipped, unless it is the first and has a structure, or is the only one.

    Args:
        row: its number in the batch, for messages.
        first: of `teacher_reasoning` and `teacher_structure`.
        branches: the row's `teacher_branches`, the first path among them or not; None for none.
        structures: the row's `teacher_structures`, one for each of them, or None.
        count: the setting `RLKD_BRANCHES`.

    Raises:
        RlkdError: if one of them is not a list of texts, or their lengths differ.
    """
    paths = _texts(row, "teacher_branches", branches)
    known = _texts(row, "teacher_structures", structures) or [None] * len(paths)
    if len(known) != len(paths):
        raise RlkdError(
            f"row {row} of a batch has {len(known)} teacher_structures for {len(paths)} "
            "teacher_branches: each path needs one, or null"
        )
    found: dict[str, BranchText] = {}
    if _has_text(first.structure) or has_reasoning(teacher_path(first.reasoning)):
        found[normalise(first.reasoning)] = first
    for path, structure in zip(paths, known, strict=True):
        if path is None or not has_reasoning(teacher_path(path)):
            continue
        same = found.setdefault(normalise(path), BranchText(path, structure))
        if not _has_text(same.structure):
            found[normalise(path)] = replace(same, structure=structure)
    return tuple(found.values())[:count] or (first,)


def _has_text(structure: str | None) -> bool:
    return bool(structure and structure.strip())


def _texts(row: int, name: str, values: Any) -> list[str | None]:
    if values is None:
        return []
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Sequence):
        raise RlkdError(
            f"the column {name} needs lists of texts; row {row} of a batch has "
            f"{repr(values)[:200]} (type: {type(values).__name__})"
        )
    for value in values:
        if not isinstance(value, (str, type(None))):
            raise RlkdError(
                f"the column {name} needs lists of texts; a list in row {row} of a batch has "
                f"{repr(value)[:200]} (type: {type(value).__name__})"
            )
    return list(values)
