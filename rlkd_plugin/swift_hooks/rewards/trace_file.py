"""Writes the trace of a run, which a failed write does not end.

A trace that cannot be written is an error before the run. A later failure, such as a full disk,
loses lines and logs a warning.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from swift.utils import get_logger

from rlkd_plugin.engines.trace import TraceRow, append_rows
from rlkd_plugin.gsrm import RlkdError

WARN_EVERY = 600.0
"""Seconds between two warnings of lost lines: a full disk stays full for many batches."""

logger = get_logger()

_writing = threading.Lock()  # a reward may be called from several threads at once


class TraceFile:
    """One file of trace lines, which one process appends to.

    Args:
        file: its folder is made where it is absent.

    Raises:
        RlkdError: if it cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lost = 0
        self._warned = float("-inf")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not file.exists()
            with file.open("ab"):
                pass
            if is_new:
                file.unlink()
        except OSError as error:
            raise RlkdError(
                f"the trace {file} cannot be written ({error.strerror or error}); set "
                "RLKD_TRACE_DIR to a folder where this process may write"
            ) from None

    def append(self, rows: Sequence[TraceRow]) -> int:
        """Append lines, and return how many of them are lost."""
        try:
            with _writing:
                append_rows(self.file, rows)
        except OSError as error:
            self.lost += len(rows)
            if time.monotonic() - self._warned >= WARN_EVERY:
                self._warned = time.monotonic()
                logger.warning(
                    f"rlkd: the trace {self.file} cannot be written "
                    f"({error.strerror or error}), at most {self.lost} lines are lost so far; the "
                    "run continues, and its rewards do not change. Free space, or set "
                    "RLKD_TRACE_DIR to another folder when you resume"
                )
            return len(rows)
        return 0
