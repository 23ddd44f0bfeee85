"""The file to which a long job appends what it has done: whole lines, one process, resumable.

A line is a JSON object. What a row is, is told by its content (`identity`), not by where it stood
in the source, so that a job goes on behind a stop with whatever source has the same rows.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError

Row = dict[str, Any]

logger = logging.getLogger(__name__)


def identity(*texts: str) -> int:
    """Return a number for texts, the same in every process: 64 bits of a hash."""
    digest = hashlib.blake2b(json.dumps(texts).encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


class ResultFile:
    """A file of JSON lines, claimed by one process; used with `with`.

    Args:
        file: where it is, or will be.
        columns: that each of its lines has.

    Entering repairs a last line that a kill cut off: it is removed, so its row is done again.

    Raises:
        RlkdError: on entering, if the place is wrong or another process has the file; on reading,
            if a line is not of this job.
    """

    def __init__(self, file: Path, *columns: str) -> None:
        self.file = file
        self.columns = columns

    def __enter__(self) -> "ResultFile":
        if not self.file.parent.is_dir():
            raise RlkdError(f"there is no folder {self.file.parent} for {self.file.name}")
        if self.file.exists() and not self.file.is_file():
            raise RlkdError(f"{self.file} is a folder or a device; name the file to write")
        self._lines = self.file.open("ab+", buffering=0)
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lines.close()
            raise RlkdError(f"another job writes {self.file}; wait for it") from None
        self._repair()
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a line before anything else happens: whole, or not at all.

        Raises:
            RlkdError: if there is no room for it.
        """
        line = json.dumps(row, ensure_ascii=True).encode() + b"\n"
        end = self._lines.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):  # a disk with little room takes a part first
                written += self._lines.write(line[written:])
        except OSError as error:
            self._lines.truncate(end)
            raise RlkdError(
                f"{self.file}: {error.strerror}; what was written stays. Make room, then give the "
                "same command again"
            ) from error

    def rows(self) -> Iterator[Row]:
        """Yield what was written before."""
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict) or any(name not in row for name in self.columns):
                    raise RlkdError(
                        f"{self.file}:{number} is no line of this job: {line[:80]!r}; name "
                        "another file to write, or remove the line"
                    )
                yield row

    def done(self, key: Callable[[Row], int]) -> set[int]:
        """Return the identities of the rows that were written before."""
        return {key(row) for row in self.rows()}

    def _repair(self) -> None:
        size = self._lines.seek(0, os.SEEK_END)
        keep, block = size, 1 << 16
        while keep > 0:
            start = max(0, keep - block)
            self._lines.seek(start)
            at = self._lines.read(keep - start).rfind(b"\n")
            if at >= 0:
                keep = start + at + 1
                break
            keep = start
        if keep < size:
            logger.warning("%s: its last line was cut off and is removed", self.file)
            self._lines.truncate(keep)
