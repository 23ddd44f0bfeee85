"""The file to which a long job appends what it has done: whole lines, one process, resumable.

A line is a JSON object. A row is known by its content (`identity`), not by its place in the source,
so that a stopped job goes on with whatever source has the same rows. Not here: whether the file is
this job's at all (`ownership`).
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import (
    append_all,
    claimed,
    half_line_start,
    json_line,
    json_lines,
    json_object,
    still_there,
)

MAKER = "maker"
"""The column in which a line of a result of several makers names its own."""

OTHER_FILE = "name another file to write"

Shape = Mapping[str, type | tuple[type, ...]]
"""The columns of a line that has to have them, and the types of their values."""
ANY: Shape = {}
T = TypeVar("T")

logger = logging.getLogger(__name__)


def identity(*texts: str) -> int:
    """Return a number for texts, the same in every process: 64 bits of a hash."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")  # a model's reply may hold half a pair
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return int.from_bytes(digest.digest(), "big")


def read_lines(file: Path, shape: Shape) -> Iterator[Row]:
    """Yield the rows of a file that a job wrote to its end.

    Raises:
        RlkdError: at a line that is none of this shape; of a job that was killed the last one.
    """
    yield from _checked(file, json_lines(file), shape)


def check_lines(file: Path, shape: Shape) -> None:
    """Look through a file of which it is not known what made it; nothing is changed.

    Raises:
        RlkdError: if it has no whole line, or one that is none of this shape.
    """
    with file.open("rb") as content:
        is_cut = _is_cut(file, content, shape)
    if not sum(1 for _ in _whole_rows(file, shape, is_cut)):
        raise RlkdError(f"{file} has no line, so no job made it; {OTHER_FILE}")


def _whole_rows(file: Path, shape: Shape, is_cut: bool) -> Iterator[Row]:
    """Yield the rows of a file, without a last line that was cut off."""
    numbered = _without_last(json_lines(file)) if is_cut else json_lines(file)
    yield from _checked(file, numbered, shape)


def _without_last(numbered: Iterator[T]) -> Iterator[T]:
    held = next(numbered, None)
    for line in numbered:
        assert held is not None  # there is one behind it
        yield held
        held = line


def _checked(
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
            f"{file}:{number} is no line of this job: {fault}; {OTHER_FILE}, or remove the line"
        )


def _is_cut(file: Path, lines: BinaryIO, shape: Shape) -> bool:
    """Say whether the last line was cut off by a kill; one that only lacks its end was not.

    Raises:
        RlkdError: if it cannot be the beginning of a line of this shape: it is somebody else's.
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
            f"{file} is not as this job left it: its last line has no end, and begins "
            f"{last[:40]!r}; {OTHER_FILE}"
        )
    return True


class ResultFile:
    """A file of JSON lines, claimed by one process; used with `with`.

    A last line that a kill cut off is removed, so its row is done again, but not before all other
    lines were read and are this job's.

    Args:
        file: where it is, or will be; known to be this job's.
        shape: of its lines; by default any.
        maker: what each new line names as its maker; by default none.

    Attributes:
        before: lines that were there before, known when `rows` has yielded them.
        appended: lines that this object wrote.

    Raises:
        RlkdError: on entering, if the place is wrong or another process has the file; on reading,
            if a line is not of this job; on appending and on leaving, if the file was removed or
            changed by somebody else.
    """

    def __init__(self, file: Path, shape: Shape = ANY, *, maker: str | None = None) -> None:
        self.file = file
        self.shape = shape
        self.before = 0
        self.appended = 0
        self._maker = {} if maker is None else {MAKER: maker}
        self._is_read = False

    def __enter__(self) -> "ResultFile":
        if not self.file.parent.is_dir():
            raise RlkdError(f"there is no folder {self.file.parent} for {self.file.name}")
        if self.file.exists() and not self.file.is_file():
            raise RlkdError(f"{self.file} is a folder or a device; name the file to write")
        self._claim = ExitStack()
        self._lines = self._claim.enter_context(claimed(self.file))
        try:
            self._is_cut = _is_cut(self.file, self._lines, self.shape)
        except RlkdError:
            self._claim.close()
            raise
        self._size = self._lines.seek(0, os.SEEK_END)
        return self

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
        for _ in self.rows() if not self._is_read else ():
            pass  # nothing is written to a file that may be somebody else's
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
        count = 0
        for row in _whole_rows(self.file, self.shape, self._is_cut):
            count += 1
            yield row
        self.before = count - self.appended
        self._is_read = True
        self._mend_end()

    def _mend_end(self) -> None:
        """Remove a last line that was cut off, and give an end to one that only lacks it."""
        start = half_line_start(self._lines)
        if self._is_cut:
            self._lines.truncate(start)
            logger.warning("%s: its last line was cut off and is removed", self.file)
            self._is_cut = False
        elif start < self._size:
            append_all(self._lines, b"\n")
        self._size = self._lines.seek(0, os.SEEK_END)

    @property
    def lines(self) -> int:
        """Lines that are there now."""
        return self.before + self.appended
