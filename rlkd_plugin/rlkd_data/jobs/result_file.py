"""The file to which a long job appends what it has done: whole lines, one process, resumable.

A line is a JSON object. A row is known by its content (`identity`), not by its place in the source,
so that a stopped job goes on with whatever source has the same rows.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import append_all, claimed, cut_half_line, json_line, json_lines

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

    Entering removes a last line that a kill cut off, so its row is done again.

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
        self._claim = ExitStack()
        self._lines = self._claim.enter_context(claimed(self.file))
        if cut_half_line(self._lines):
            logger.warning("%s: its last line was cut off and is removed", self.file)
        return self

    def __exit__(self, *error: object) -> None:
        self._claim.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a line before anything else happens: whole, or not at all.

        Any text can be written, half a surrogate pair of a model's reply too.

        Raises:
            RlkdError: if there is no room for it.
        """
        try:
            append_all(self._lines, json_line(row, escape=True))
        except OSError as error:
            raise RlkdError(
                f"{self.file}: {error.strerror}; what was written stays. Make room, then give the "
                "same command again"
            ) from error

    def rows(self) -> Iterator[Row]:
        """Yield what was written before."""
        for number, row in json_lines(self.file):
            if isinstance(row, FormatError):
                fault = str(row)
            elif missing := [name for name in self.columns if name not in row]:
                fault = f"it has no {', '.join(missing)}"
            else:
                yield row
                continue
            raise RlkdError(
                f"{self.file}:{number} is no line of this job: {fault}; name another file to "
                "write, or remove the line"
            )

    def done(self, key: Callable[[Row], int]) -> set[int]:
        """Return the identities of the rows that were written before."""
        return {key(row) for row in self.rows()}
