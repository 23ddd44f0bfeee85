"""Rows of Parquet files, read in small batches whatever the size of their row groups."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_types import Row, UnreadableRestError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

MAGIC = b"PAR1"
"""The first bytes of a Parquet file."""
BATCH = 64  # rows in memory at once; a row of reasoning data may have 100 KB
READ_BUFFER = 1 << 20  # bytes of each column read at once; without it Arrow reads a row group whole


def is_parquet(file: Path) -> bool:
    """Return whether a file begins as Parquet files do."""
    with file.open("rb") as content:
        return content.read(len(MAGIC)) == MAGIC


def open_parquet(file: Path) -> "ParquetFile":
    """Open a file, and read its end, which names the columns.

    Raises:
        RlkdError: if it is not whole.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file, buffer_size=READ_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise RlkdError(f"{file} is not a complete Parquet file: {error}") from None


def read_parquet(file: Path, columns: Sequence[str] | None) -> Iterator[Row | FormatError]:
    """Yield each row, with the columns that the file has; all columns by default.

    Raises:
        RlkdError: if the file is not whole.
        UnreadableRestError: where the rest cannot be read.
    """
    import pyarrow

    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        there = names if columns is None else [name for name in columns if name in names]
        batches = parquet.iter_batches(BATCH, columns=there, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pyarrow.ArrowException, OSError) as error:
                raise UnreadableRestError(f"{error}; fetch it again") from None
            if batch is None:
                return
            for index in range(batch.num_rows):
                try:
                    yield batch.slice(index, 1).to_pylist()[0]
                except UnicodeDecodeError as error:
                    yield FormatError(f"not UTF-8: {error.reason}")
