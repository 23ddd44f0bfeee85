"""The file to which a long job appends what it has done: whole lines, one process, resumable.

A line is a JSON object. A row is known by its content (`identity`), not by its place in the source,
so that a stopped job goes on with whatever source has the same rows. Not here: whether the file is
this job's at all (`ownership`).
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import (
    append_all,
    claimed,
    cut_half_line,
    json_line,
    json_lines,
    still_there,
)

MAKER = "maker"
"""The column in which a line of a result of several makers names its own."""

logger = logging.getLogger(__name__)


def identity(*texts: str) -> int:
    """Return a number for texts, the same in every process: 64 bits of a hash."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")  # a model's reply may hold half a pair
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return int.from_bytes(digest.digest(), "big")


def check_lines(file: Path, columns: Sequence[str]) -> None:
    """Look through a file of which it is not known what made it; nothing is changed.

    Raises:
        RlkdError: if it has no whole line, or one that is no JSON object with these columns.
    """
    found = 0
    cut: RlkdError | None = None
    for number, row in json_lines(file):
        if cut:
            raise cut
        if _is_line(row, columns):
            found += 1
        else:
            cut = _fault(file, number, row, columns)
    with file.open("rb") as content:
        content.seek(max(0, content.seek(0, os.SEEK_END) - 1))
        is_whole = content.read() == b"\n"
    if cut and (is_whole or not found):
        raise cut
    if not found:
        raise RlkdError(f"{file} has no line, so no job made it; name another file to write")


def read_lines(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file that a job wrote to its end.

    Raises:
        RlkdError: at a line that is no JSON object with these columns; of a job that was killed
            the last one.
    """
    needed = frozenset(columns)
    for number, row in json_lines(file):
        if isinstance(row, FormatError) or not needed <= row.keys():
            raise _fault(file, number, row, columns)
        yield row


def _is_line(row: Row | FormatError, columns: Sequence[str]) -> bool:
    """Say whether a line may be one of a job with these columns."""
    return not isinstance(row, FormatError) and all(name in row for name in columns)


def _fault(file: Path, number: int, row: Row | FormatError, columns: Sequence[str]) -> RlkdError:
    """Return why a line is none of a job with these columns."""
    fault = str(row)
    if not isinstance(row, FormatError):
        fault = f"it has no {', '.join(name for name in columns if name not in row)}"
    return RlkdError(
        f"{file}:{number} is no line of this job: {fault}; name another file to write, or remove "
        "the line"
    )


class ResultFile:
    """A file of JSON lines, claimed by one process; used with `with`.

    Entering removes a last line that a kill cut off, so its row is done again.

    Args:
        file: where it is, or will be; known to be this job's.
        columns: that each of its lines has.
        maker: what each new line names as its maker; by default none.

    Attributes:
        before: lines that were there before, known when `rows` has yielded them.
        appended: lines that this object wrote.

    Raises:
        RlkdError: on entering, if the place is wrong or another process has the file; on reading,
            if a line is not of this job; on appending and on leaving, if the file was removed or
            changed by somebody else.
    """

    def __init__(self, file: Path, *columns: str, maker: str | None = None) -> None:
        self.file = file
        self.columns = columns
        self.before = 0
        self.appended = 0
        self._maker = {} if maker is None else {MAKER: maker}

    def __enter__(self) -> "ResultFile":
        if not self.file.parent.is_dir():
            raise RlkdError(f"there is no folder {self.file.parent} for {self.file.name}")
        if self.file.exists() and not self.file.is_file():
            raise RlkdError(f"{self.file} is a folder or a device; name the file to write")
        self._claim = ExitStack()
        self._lines = self._claim.enter_context(claimed(self.file))
        try:
            self._check_first()
        except RlkdError:
            self._claim.close()
            raise
        if cut_half_line(self._lines):
            logger.warning("%s: its last line was cut off and is removed", self.file)
        self._size = os.fstat(self._lines.fileno()).st_size
        return self

    def _check_first(self) -> None:
        """Check that the first line is of this job, also where it was cut off, before any change.

        Raises:
            RlkdError: if somebody has put another file in this place.
        """
        with self.file.open("rb") as content:
            first = content.readline()
        if not first or not self.columns:
            return
        if first.endswith(b"\n"):
            number, row = next(json_lines(self.file), (1, FormatError("it is blank")))
            is_ours = _is_line(row, self.columns)
        else:
            number, row = 1, FormatError("it has no end")
            keys = [f'{{"{name}": '.encode() for name in self.columns]
            is_ours = any(first.startswith(key[: len(first)]) for key in keys)
        if not is_ours:
            raise _fault(self.file, number, row, self.columns)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._claim:
            if kind is None:
                self._check_there()
                if os.fstat(self._lines.fileno()).st_size != self._size:
                    raise RlkdError(
                        f"{self.file} holds {os.fstat(self._lines.fileno()).st_size:,} bytes, not "
                        f"the {self._size:,} that this job knows of: something else wrote to it"
                    )

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a line before anything else happens: whole, or not at all.

        Any text can be written, half a surrogate pair of a model's reply too.

        Raises:
            RlkdError: if there is no room for it, or the file is no longer there.
        """
        line = json_line({**row, **self._maker}, escape=True)
        self._check_there()
        try:
            append_all(self._lines, line)
        except OSError as error:
            raise RlkdError(
                f"{self.file}: {error.strerror}; what was written stays. Make room, then give the "
                "same command again"
            ) from error
        self._size += len(line)
        self.appended += 1

    def _check_there(self) -> None:
        """Check that what is written still reaches the file of this name.

        Raises:
            RlkdError: if it was removed, moved or replaced.
        """
        if not still_there(self._lines, self.file):
            raise RlkdError(
                f"{self.file} was removed, moved or replaced while the job ran; of the "
                f"{self.appended:,} rows that this run wrote to it none is there now. Put it back "
                "where it was moved, then give the same command again"
            )

    def rows(self) -> Iterator[Row]:
        """Yield what was written before."""
        before = 0
        for row in read_lines(self.file, self.columns):
            before += 1
            yield row
        self.before = before - self.appended

    @property
    def lines(self) -> int:
        """Lines that are there now."""
        return self.before + self.appended
