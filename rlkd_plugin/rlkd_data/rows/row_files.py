"""Reads the rows of a local copy one by one, whatever its format, in flat memory.

JSON lines, a JSON array of objects, CSV and TSV with a header, each also compressed by gzip or
Zstandard, and Parquet. The first bytes decide the format (`file_kinds`), for tables the name.
"""

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.csv_rows import Table, separator
from rlkd_plugin.rlkd_data.rows.file_kinds import Kind, kind_of, read_names
from rlkd_plugin.rlkd_data.rows.json_rows import count_lines, read_array, read_lines, split_array
from rlkd_plugin.rlkd_data.rows.packed_files import READ_ERRORS, Content, open_content
from rlkd_plugin.rlkd_data.rows.parquet_rows import open_parquet, read_parquet
from rlkd_plugin.rlkd_data.rows.row_types import PlacedRow, Row, UnreadableRestError
from rlkd_plugin.rlkd_data.rows.source_folders import is_row_name, row_files, unread_files

__all__ = [
    "PlacedRow",
    "Row",
    "check_columns",
    "count_rows",
    "is_row_name",
    "raw_rows",
    "row_counts",
    "row_files",
    "unread_files",
]


def check_columns(file: Path, needs: Sequence[str]) -> None:
    """Check a file before any work; columns of JSON are checked row by row later.

    Raises:
        RlkdError: if the file is of another format, a Parquet file is not complete, or Parquet
            or a table lacks a column.
    """
    kind = kind_of(file)
    if kind is Kind.PARQUET:
        with open_parquet(file) as parquet:
            names = parquet.schema_arrow.names
    elif kind is Kind.TABLE:
        names = read_names(file)
    else:
        return
    if missing := [name for name in needs if name not in names]:
        raise RlkdError(
            f"{file} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
        )


def raw_rows(
    files: Sequence[Path], columns: Sequence[str] | None = None, key: str | None = None
) -> Iterator[PlacedRow]:
    """Yield every row of the files with its place.

    Blank lines are skipped. A column that a Parquet file lacks is missing in its rows. Values of a
    table are texts, an empty cell an empty text.

    Args:
        files: to read.
        columns: to read of a Parquet file; all by default.
        key: a column that names a row; a duplicate of a value is a `FormatError`.

    Raises:
        RlkdError: before the first row if a file is of another format; where the rest of a file
            cannot be read.
    """
    seen: set[Any] = set()
    for file, kind in [(file, kind_of(file)) for file in files]:
        for place, row in _whole_rows(file, kind, columns):
            value = None if isinstance(row, FormatError) or not key else row.get(key)
            if value in (None, "") or not isinstance(value, Hashable):
                yield place, row
            elif value in seen:
                yield place, FormatError(f"duplicate {key}: {value!r:.200}")
            else:
                seen.add(value)
                yield place, row


def count_rows(files: Sequence[Path]) -> int:
    """Return how many rows the files have, blank lines of JSON lines included.

    Parquet stores the number; any other file is read for it.

    Raises:
        RlkdError: if a file is of another format or cannot be read to its end.
    """
    return sum(row_counts(files))


def row_counts(files: Sequence[Path]) -> Iterator[int]:
    """Yield numbers whose sum is `count_rows`, one a part of a file; a caller can stop early.

    Raises:
        RlkdError: as `count_rows`.
    """
    for file in files:
        kind = kind_of(file)
        try:
            if kind is Kind.PARQUET:
                with open_parquet(file) as parquet:
                    yield parquet.metadata.num_rows
            else:
                with open_content(file) as content:
                    yield from _counts(file, kind, content)
        except (UnreadableRestError, *READ_ERRORS) as error:
            raise RlkdError(f"{file} cannot be counted: {error}") from None


def _counts(file: Path, kind: Kind, content: Content) -> Iterator[int]:
    if kind is Kind.LINES:
        yield from count_lines(content)
    elif kind is Kind.ARRAY:
        yield from (1 for _ in split_array(content))
    else:
        yield from (1 for _ in _table(file, content).rows())


def _whole_rows(file: Path, kind: Kind, columns: Sequence[str] | None) -> Iterator[PlacedRow]:
    """Yield the rows of a file; end only where the file ends."""
    number = 0
    try:
        for place, row in _placed_rows(file, kind, columns):
            number += 1
            yield place, row
    except UnreadableRestError as error:
        raise RlkdError(f"{file} cannot be read after row {number}: {error}") from None
    except READ_ERRORS as error:
        raise RlkdError(
            f"{file} cannot be read after row {number}: {error}; fetch it again"
        ) from None


def _placed_rows(file: Path, kind: Kind, columns: Sequence[str] | None) -> Iterator[PlacedRow]:
    if kind is Kind.PARQUET:
        for number, row in enumerate(read_parquet(file, columns), start=1):
            yield f"{file}:row {number}", row
        return
    with open_content(file) as content:
        if kind is Kind.ARRAY:
            for number, row in enumerate(read_array(content), start=1):
                yield f"{file}:row {number}", row
            return
        lines = read_lines(content) if kind is Kind.LINES else _table(file, content).rows()
        for number, row in lines:
            yield f"{file}:{number}", row


def _table(file: Path, content: Content) -> Table:
    mark = separator(file)
    assert mark is not None  # a table is known by its name
    return Table(file, content, mark)
