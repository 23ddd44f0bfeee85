"""Reads the rows of a local copy, JSON lines or Parquet, one by one; writes them as JSON lines."""

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError

PlacedRow = tuple[str, dict[str, Any] | FormatError]
"""`file:line` or `file:row 7`, and the row there, or why there is none."""

BATCH = 64  # rows of a Parquet file in memory at once; a row of reasoning data may have 100 KB
READ_BUFFER = 1 << 20  # bytes of each column read at once; without it Arrow reads a row group whole


def row_files(source: Path) -> list[Path]:
    """Return the file, or the `.jsonl` and `.parquet` files of a folder in the order of names.

    Where some of a folder's names begin with `train`, as the hubs name the files of a split, the
    others are of other splits and are left out.

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
        with _opened(file) as parquet:
            names = parquet.schema_arrow.names
        if missing := [name for name in needs if name not in names]:
            raise RlkdError(
                f"{file} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
            )


def raw_rows(
    files: Sequence[Path], columns: Sequence[str] | None = None, key: str | None = None
) -> Iterator[PlacedRow]:
    """Yield every row of the files with its place.

    A blank line is no row. Of a Parquet file only the columns are read that are named, and those
    that it lacks are left out.

    Args:
        files: JSON lines or Parquet; their first bytes tell, not their names.
        columns: that a row can be made of; all where none is named.
        key: a column that names a row; one whose value came before is a `FormatError`.

    Raises:
        RlkdError: where a Parquet file cannot be read any further.
    """
    seen: set[Any] = set()
    for file in files:
        parquet = is_parquet(file)
        for place, row in _rows_of_parquet(file, columns) if parquet else _rows_of_json_lines(file):
            value = None if isinstance(row, FormatError) or not key else row.get(key)
            if value in (None, "") or not isinstance(value, Hashable):
                yield place, row
            elif value in seen:
                yield place, FormatError(f"{key} seen before: {value!r:.200}")
            else:
                seen.add(value)
                yield place, row


def count_rows(files: Sequence[Path]) -> int:
    """Return how many rows the files have, blank lines included; without reading any."""
    count = 0
    for file in files:
        if is_parquet(file):
            with _opened(file) as parquet:
                count += parquet.metadata.num_rows
            continue
        with file.open("rb") as content:
            last = b"\n"
            while block := content.read(READ_BUFFER):
                count += block.count(b"\n")
                last = block[-1:]
            count += last != b"\n"
    return count


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON; what JSON does not know, a date for example, as its text.

    Raises:
        FormatError: if a text of it holds what UTF-8 cannot.
    """
    try:
        return (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise FormatError(f"half a surrogate pair, which no file can hold: {half!a}") from None


def _rows_of_json_lines(file: Path) -> Iterator[PlacedRow]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip(b"\r\n")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield f"{file}:{number}", _object(line)
            except FormatError as error:
                yield f"{file}:{number}", error


def _rows_of_parquet(file: Path, columns: Sequence[str] | None) -> Iterator[PlacedRow]:
    import pyarrow

    number = 0
    with _opened(file) as parquet:
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


def _opened(file: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file, buffer_size=READ_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise RlkdError(f"{file} is no whole Parquet file: {error}") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8: byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"broken JSON: {error.msg}, character {error.pos + 1}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of 4301 digits
        raise FormatError(f"JSON that Python does not read: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"no JSON object: {value!r:.80}")
    return value
