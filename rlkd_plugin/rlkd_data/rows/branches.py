"""A teacher's branches: several paths to the answer of one problem, as columns of a row.

`teacher_branches` holds the paths, the first of which is `teacher_reasoning`. `teacher_structures`,
if it was computed before training, holds a structure or None for each. `generations` chooses the
paths of a hub's row; `swift_hooks.rewards` uses them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.texts import normalise
from rlkd_plugin.rlkd_data.rows.row_fields import text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row

BRANCHES, STRUCTURES = "teacher_branches", "teacher_structures"


def distinct_paths(paths: Iterable[str]) -> list[str]:
    """Return the paths without duplicates, after normalisation."""
    return [path for path, _ in _distinct((path, None) for path in paths)]


def add_branches(
    make_row: Callable[[Mapping[str, Any]], Row],
    paths: Callable[[Mapping[str, Any]], list[str]],
    most: int,
    raw: Mapping[str, Any],
) -> Row:
    """Make a row with `teacher_branches`.

    Args:
        make_row: from a row of the hub to ours.
        paths: all paths of a row of the hub, the first of which is `teacher_reasoning`.
        most: maximum branches of a row.
        raw: the row of the hub.

    Raises:
        FormatError: as `make_row`.
    """
    row = make_row(raw)
    others = (path.strip() for path in paths(raw)[1:])
    return {**row, BRANCHES: distinct_paths([row["teacher_reasoning"], *others])[:most]}


def read_branches(raw: Mapping[str, Any]) -> Row:
    """Return the columns `teacher_branches` and `teacher_structures` of a row in our own format.

    A column that is missing, null, an empty list or, as in a table, an empty text is not returned.
    `teacher_reasoning` comes first, wherever it is in the list. The first of duplicates stays, with
    the first structure that one of them has.

    Raises:
        FormatError: if a column is not a list, a branch is not a text or is empty, a structure is
            neither text nor null, or there is not one structure for each branch.
    """
    branches, structures = _list_of(raw, BRANCHES), _list_of(raw, STRUCTURES)
    if structures and len(structures) != len(branches):
        raise FormatError(
            "teacher_structures and teacher_branches differ in length: "
            f"{len(structures)} and {len(branches)}"
        )
    if not branches:
        return {}
    paths = [_branch(value, place, len(branches)) for place, value in enumerate(branches, start=1)]
    texts = map(_structure, structures or [None] * len(branches))
    pairs = list(zip(paths, texts, strict=True))
    if raw.get("teacher_reasoning") not in (None, ""):
        pairs.insert(0, (text_of(raw, "teacher_reasoning"), None))
    pairs = _distinct(pairs)
    columns: Row = {BRANCHES: [path for path, _ in pairs]}
    return {**columns, STRUCTURES: [text for _, text in pairs]} if structures else columns


def _distinct(pairs: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Return paths and structures without duplicates of a path; the first structure counts."""
    found: dict[str, tuple[str, str | None]] = {}
    for path, structure in pairs:
        first, known = found.setdefault(normalise(path), (path, structure))
        found[normalise(path)] = (first, known or structure)
    return [*found.values()]


def _list_of(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    if value is None or value == "":  # an empty cell of a table
        return []
    if not isinstance(value, list):
        raise FormatError(f"{name} is not a list: {value!r:.200}")
    return value


def _branch(value: Any, place: int, count: int) -> str:
    if not isinstance(value, str):
        raise FormatError(
            f"a branch of teacher_branches is not a text: {value!r:.200}, branch {place} of {count}"
        )
    if not value.strip():
        raise FormatError(f"a branch of teacher_branches is empty: branch {place} of {count}")
    return value.strip()


def _structure(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise FormatError(
            f"a structure of teacher_structures is neither a text nor null: {value!r:.200}"
        )
    return value or None
