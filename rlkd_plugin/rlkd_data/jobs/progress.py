"""What a long job shows while it runs: how far it is, and what it costs.

On a terminal that is a bar; in a log file, where nobody watches, it is a line a minute.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rlkd_plugin.rlkd_data.rows.row_files import count_rows, row_files

BAR_SECONDS = 0.5
LINE_SECONDS = 60.0


@contextmanager
def show_progress(
    source: Path, passed: Callable[[], int], words: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Show how far a job is while the body runs, on standard error.

    Args:
        source: of the rows.
        passed: says how many of them need no more work; called in a thread.
        words: says what else to show; called in a thread.

    Raises:
        RlkdError: if there is no source.
    """
    progress = _Progress(count_rows(row_files(source)), passed, words)
    terminal = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    ended = threading.Event()
    show = _show_bar if terminal.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(progress, terminal, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class _Progress:
    """The number of rows of a source, and two functions that say how far a job is."""

    total: int
    passed: Callable[[], int]
    words: Callable[[], str]


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
            bar.update(task, completed=progress.passed())
            below.plain = progress.words()


def _show_lines(progress: _Progress, terminal: Console, ended: threading.Event) -> None:
    before, then = None, time.monotonic()
    while not ended.wait(LINE_SECONDS):
        done, now = progress.passed(), time.monotonic()
        line = f"{done:,} of {progress.total:,} rows"
        if before is not None:  # the first line counts rows that were done before this run
            rate = (done - before) / (now - then)
            left = "no row ended since"
            if rate:
                left = f"{(progress.total - done) / rate / 60:,.0f} min left"
            line += f", {rate * 60:,.0f} a minute, {left}"
        terminal.print(", ".join(part for part in (line, progress.words()) if part))
        before, then = done, now
