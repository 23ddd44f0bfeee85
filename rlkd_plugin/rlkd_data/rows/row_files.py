"""Reads the rows of a local copy, JSON lines or Parquet, one by one."""

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_files import json_lines

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Row = dict[str, Any]
"""A row of a data set: the values of its columns."""
PlacedRow = tuple[str, Row | FormatError]
"""`file:line` or `file:row 7`, and the row there, or why there is none."""

BATCH = 64  # rows of a Parquet file in memory at once; a row of reasoning data may have 100 KB
READ_BUFFER = 1 << 20  # bytes of each column read at once; without it Arrow reads a row group whole


def row_files(source: Path) -> list[Path]:
    """Return the file, or the `.jsonl` and `.parquet` files of a folder in the order of names.

    Where some of a folder's names begin with `train`, as the hubs name the files of a split, the
    others are of other splits and are skipped.

    Raises:
        RlkdError: if there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise RlkdError(f"there is no file {source}")
    files = sorted(
        file
        for file in source.iterdir()
        if file.suffix in (".jsonl", ".parquet") and file.is_file() and file.name[0] != "."
    )
    if not files:
        raise RlkdError(f"{source} has no .jsonl or .parquet file; name the folder they are in")
    return [file for file in files if file.name.startswith("train")] or files


def is_parquet(file: Path) -> bool:
    """Say whether a file begins as Parquet files do."""
    with file.open("rb") as content:
        return content.read(4) == b"PAR1"


def check_columns(file: Path, needs: Sequence[str]) -> None:
    """Look into a Parquet file before any work; JSON lines are checked row by row.

    Raises:
        RlkdError: if the file is not whole or lacks a column.
    """
    if is_parquet(file):
        with _open_parquet(file) as parquet:
            names = parquet.schema_arrow.names
        if missing := [name for name in needs if name not in names]:
            raise RlkdError(
                f"{file} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
            )


def raw_rows(
    files: Sequence[Path], columns: Sequence[str] | None = None, key: str | None = None
) -> Iterator[PlacedRow]:
    """Yield every row of the files with its place.

    Blank lines are skipped. A column that a Parquet file lacks is missing in its rows.

    Args:
        files: JSON lines or Parquet; their first bytes tell, not their names.
        columns: to read of a Parquet file; all by default.
        key: a column that names a row; a duplicate of a value is a `FormatError`.

    Raises:
        RlkdError: where the rest of a Parquet file cannot be read.
    """
    seen: set[Any] = set()
    for file in files:
        for place, row in _placed_rows(file, columns):
            value = None if isinstance(row, FormatError) or not key else row.get(key)
            if value in (None, "") or not isinstance(value, Hashable):
                yield place, row
            elif value in seen:
                yield place, FormatError(f"duplicate {key}: {value!r:.200}")
            else:
                seen.add(value)
                yield place, row


def count_rows(files: Sequence[Path]) -> int:
    """Return how many rows the files have, blank lines included; without reading any."""
    count = 0
    for file in files:
        if is_parquet(file):
            with _open_parquet(file) as parquet:
                count += parquet.metadata.num_rows
            continue
        with file.open("rb") as content:
            last = b"\n"
            while block := content.read(READ_BUFFER):
                count += block.count(b"\n")
                last = block[-1:]
            count += last != b"\n"
    return count


def _placed_rows(file: Path, columns: Sequence[str] | None) -> Iterator[PlacedRow]:
    if is_parquet(file):
        yield from _parquet_rows(file, columns)
        return
    for number, row in json_lines(file):
        yield f"{file}:{number}", row


def _parquet_rows(file: Path, columns: Sequence[str] | None) -> Iterator[PlacedRow]:
    import pyarrow

    number = 0
    with _open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        there = names if columns is None else [name for name in columns if name in names]
        batches = parquet.iter_batches(BATCH, columns=there, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pyarrow.ArrowException, OSError) as error:
                raise RlkdError(f"{file} cannot be read after row {number}: {error}") from None
            if batch is None:
                return
            for index in range(batch.num_rows):
                number += 1
                try:
                    yield f"{file}:row {number}", batch.slice(index, 1).to_pylist()[0]
                except UnicodeDecodeError as error:
                    yield f"{file}:row {number}", FormatError(f"not UTF-8: {error.reason}")


def _open_parquet(file: Path) -> "ParquetFile":
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file, buffer_size=READ_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise RlkdError(f"{file} is no whole Parquet file: {error}") from None
