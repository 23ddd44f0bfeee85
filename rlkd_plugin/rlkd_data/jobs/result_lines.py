"""Reads the lines of a result: checks their columns, and hashes what identifies a row.

Not here: how lines are appended and a half one is removed (`result_file`).
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import half_line_start, json_lines, json_object

MAKER = "maker"
"""The column that names a line's maker, in a result of several makers."""

OTHER_FILE = "name another file to write"

Shape = Mapping[str, type | tuple[type, ...]]
"""The columns that a line must have, and the types of their values."""
ANY: Shape = {}
T = TypeVar("T")


def identity(*texts: str) -> int:
    """Return a number for texts, the same in every process: 64 bits of a hash."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")  # a reply may hold half a surrogate pair
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return int.from_bytes(digest.digest(), "big")


def read_lines(file: Path, shape: Shape) -> Iterator[Row]:
    """Yield the rows of a complete file.

    Raises:
        RlkdError: at a line that is not of this shape, such as a last line that a kill cut off.
    """
    yield from _check_rows(file, json_lines(file), shape)


def check_lines(file: Path, shape: Shape) -> None:
    """Check the lines of a file of unknown origin.

    Raises:
        RlkdError: if it has no whole line, or one that is not of this shape.
    """
    with file.open("rb") as content:
        cut = is_cut(file, content, shape)
    if not sum(1 for _ in whole_rows(file, shape, cut)):
        raise RlkdError(f"{file} has no line, so no job made it; {OTHER_FILE}")


def whole_rows(file: Path, shape: Shape, cut: bool) -> Iterator[Row]:
    """Yield the rows of a file, without a last line that was cut off."""
    numbered = _without_last(json_lines(file)) if cut else json_lines(file)
    yield from _check_rows(file, numbered, shape)


def _without_last(numbered: Iterator[T]) -> Iterator[T]:
    held = next(numbered, None)
    for line in numbered:
        assert held is not None  # another line follows it
        yield held
        held = line


def _check_rows(
    file: Path, numbered: Iterator[tuple[int, Row | FormatError]], shape: Shape
) -> Iterator[Row]:
    kinds = tuple(shape.items())
    for number, row in numbered:
        if isinstance(row, FormatError):
            fault = str(row)
        else:
            for name, kind in kinds:
                if not isinstance(row.get(name), kind):
                    break
            else:
                yield row
                continue
            missing = ", ".join(name for name in shape if name not in row)
            fault = f"it has no {missing}" if missing else f"its {name} is {row[name]!r:.60}"
        raise RlkdError(
            f"{file}:{number} is not a line of this job: {fault}; {OTHER_FILE}, or remove the line"
        )


def is_cut(file: Path, lines: BinaryIO, shape: Shape) -> bool:
    """Return whether a kill cut off the last line; one that only lacks its line end is whole.

    Raises:
        RlkdError: if it cannot be the beginning of a line of this shape.
    """
    lines.seek(half_line_start(lines))
    last = lines.read()
    if not last:
        return False
    try:
        json_object(last)
        return False
    except FormatError:
        pass
    begins = [f'{{"{name}": '.encode() for name in shape]
    if begins and not any(last.startswith(begin[: len(last)]) for begin in begins):
        raise RlkdError(
            f"{file} was changed after this job wrote it: its last line is incomplete and begins "
            f"with {last[:40]!r}; {OTHER_FILE}"
        )
    return True
