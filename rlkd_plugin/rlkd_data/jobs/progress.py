"""Shows progress and cost of a long job while it runs.

A terminal gets a bar, a log file a line a minute. A thread counts the rows, as most files must be
read for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import row_counts, row_files

BAR_SECONDS = 0.5
LINE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@contextmanager
def show_progress(
    source: Path, passed: Callable[[], int], words: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Show a job's progress on standard error while the body runs.

    Args:
        source: a file or a folder of rows.
        passed: returns how many rows need no more work; called in a thread.
        words: returns further text to show; called in a thread.

    Raises:
        RlkdError: if there is no source.
    """
    files = row_files(source)
    progress = _Progress(passed, words)
    terminal = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    ended = threading.Event()
    show = _show_bar if terminal.is_terminal else _show_lines
    threads = (
        threading.Thread(target=show, args=(progress, terminal, ended)),
        threading.Thread(target=_count, args=(progress, files, ended)),
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@dataclass
class _Progress:
    """Two functions that return a job's progress, and the number of its rows.

    Attributes:
        passed: returns how many rows need no more work.
        words: returns further text to show.
        total: rows of the source; None until they are counted.
    """

    passed: Callable[[], int]
    words: Callable[[], str]
    total: int | None = None


def _count(progress: _Progress, files: Sequence[Path], ended: threading.Event) -> None:
    """Count the rows until the job ends; a file that cannot be read has no total.

    The job reads the same file and reports the fault itself.
    """
    total = 0
    try:
        for rows in row_counts(files):
            total += rows
            if ended.is_set():
                return
    except (RlkdError, OSError) as error:
        logger.debug("the rows are not counted: %s", error)
        return
    progress.total = total


def _show_bar(progress: _Progress, terminal: Console, ended: threading.Event) -> None:
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    task = bar.add_task("", total=progress.total)
    below = Text(no_wrap=True, overflow="ellipsis")
    with Live(Group(bar, below), console=terminal, transient=True):
        while not ended.wait(BAR_SECONDS):
            bar.update(task, total=progress.total, completed=progress.passed())
            below.plain = progress.words()


def _show_lines(progress: _Progress, terminal: Console, ended: threading.Event) -> None:
    before, then = None, time.monotonic()
    while not ended.wait(LINE_SECONDS):
        done, now, total = progress.passed(), time.monotonic(), progress.total
        parts = [f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows"]
        if before is not None:  # the first line counts rows that were done before this run
            rate = (done - before) / (now - then)
            parts.append(f"{rate * 60:,.0f} a minute")
            if not rate:
                parts.append("no row finished since")
            elif total is not None:
                parts.append(f"{(total - done) / rate / 60:,.0f} min left")
        terminal.print(", ".join(part for part in (*parts, progress.words()) if part))
        before, then = done, now
