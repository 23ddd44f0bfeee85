"""The file to which a long job appends its rows: whole lines, one process, resumable.

Not here: what a line is (`result_lines`), and whether the file is this job's (`ownership`).
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.result_lines import ANY, MAKER, Shape, is_cut, whole_rows
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import (
    append_all,
    check_place,
    claim,
    half_line_start,
    json_line,
    still_there,
)

logger = logging.getLogger(__name__)


class ResultFile:
    """A file of JSON lines, claimed by one process; used with `with`.

    A last line that a kill cut off is removed, so its row is done again. Before that, all other
    lines are read and checked.

    Args:
        file: its path; known to be this job's.
        shape: the columns of its lines; by default any.
        maker: the maker that each new line names; by default none.

    Attributes:
        before: lines of earlier runs, known when `rows` has yielded them.
        appended: lines that this object wrote.

    Raises:
        RlkdError: on entering, if the place is wrong or another process has the file; on reading,
            if a line is not of this job; on appending and on leaving, if another program removed
            or changed the file.
    """

    def __init__(self, file: Path, shape: Shape = ANY, *, maker: str | None = None) -> None:
        self.file = file
        self.shape = shape
        self.before = 0
        self.appended = 0
        self._maker = {} if maker is None else {MAKER: maker}
        self._is_read = False

    def __enter__(self) -> "ResultFile":
        check_place(self.file)
        self._claim = ExitStack()
        self._lines = self._claim.enter_context(claim(self.file))
        try:
            self._is_cut = is_cut(self.file, self._lines, self.shape)
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
                        f"{self.file} has {os.fstat(self._lines.fileno()).st_size:,} bytes, not "
                        f"the {self._size:,} of this job: another program wrote to it. Give the "
                        "same command again, which checks every line"
                    )

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a line at once, whole or not at all.

        Any text can be written, also half a surrogate pair of a model's reply.

        Raises:
            RlkdError: if there is no room for it, or the file no longer exists.
        """
        for _ in self.rows() if not self._is_read else ():
            pass  # check all lines before the first is appended
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
        """Check that the open file still has its name.

        Raises:
            RlkdError: if it was removed, moved or replaced.
        """
        if not still_there(self._lines, self.file):
            raise RlkdError(
                f"{self.file} was removed, moved or replaced while the job ran, with the "
                f"{self.appended:,} rows that this run wrote. Move it back, then give the same "
                "command again"
            )

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the file."""
        count = 0
        for row in whole_rows(self.file, self.shape, self._is_cut):
            count += 1
            yield row
        self.before = count - self.appended
        self._is_read = True
        self._repair_end()

    def _repair_end(self) -> None:
        """Remove a last line that was cut off; add a missing line end to a whole one."""
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
        """Lines in the file now."""
        return self.before + self.appended
