"""What a long job shows while it runs and when it ends: how far it is, and what it cost.

On a terminal that is a bar; in a log file, where nobody watches, it is a line a minute.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import count_rows, row_files

BAR_SECONDS = 0.5
LINE_SECONDS = 60.0


Report = TypeVar("Report", bound="Passing")


class Passing(Protocol):
    """What a job reports, as far as its progress needs it."""

    @property
    def passed(self) -> int:
        """Rows of the source that need no more work."""
        ...


@contextmanager
def job_shown(
    source: Path,
    out: Path,
    report: Report,
    show: Callable[[Report, Console], None],
    cost: "Cost",
    *,
    kept: Path | None = None,
) -> Iterator[None]:
    """Show a job's progress while the body runs, and how it ended, whatever ended it.

    Args:
        source: of the rows.
        out: the job's file.
        report: filled while the job runs.
        show: prints the report.
        cost: counts while the job runs.
        kept: the file that grows while the job runs; `out` where none is named.

    Raises:
        RlkdError: if there is no source.
    """
    row_files(source)  # without a source there is nothing to show
    console = Console(markup=False, highlight=False, soft_wrap=True)
    begin = time.monotonic()
    last = "stopped"
    try:
        with progress_shown(source, lambda: report.passed, cost.words):
            yield
        last = f"written to {out}"
    except (KeyboardInterrupt, EndpointError):
        last = f"stopped; {kept or out} keeps what is done, and the same command goes on behind it"
        raise
    finally:
        show(report, console)
        for line in cost.lines():
            console.print(line)
        console.print(f"{last} ({time.monotonic() - begin:,.0f} s)")


@contextmanager
def progress_shown(
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
    job = _Job(count_rows(row_files(source)), passed, words)
    terminal = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    ended = threading.Event()
    shows = _bar if terminal.is_terminal else _lines
    thread = threading.Thread(target=shows, args=(job, terminal, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class _Job:
    """What there is to show of a job."""

    total: int
    passed: Callable[[], int]
    words: Callable[[], str]


def _bar(job: _Job, terminal: Console, ended: threading.Event) -> None:
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("rows,"), TimeRemainingColumn()
    progress = Progress(*columns, TextColumn("left"))
    task = progress.add_task("", total=job.total)
    below = Text(no_wrap=True, overflow="ellipsis")
    with Live(Group(progress, below), console=terminal, transient=True):
        while not ended.wait(BAR_SECONDS):
            progress.update(task, completed=job.passed())
            below.plain = job.words()


def _lines(job: _Job, terminal: Console, ended: threading.Event) -> None:
    before, then = None, time.monotonic()
    while not ended.wait(LINE_SECONDS):
        done, now = job.passed(), time.monotonic()
        line = f"{done:,} of {job.total:,} rows"
        if before is not None:  # the first time there are rows that were done before
            rate = (done - before) / (now - then)
            left = "no row ended since"
            if rate:
                left = f"{(job.total - done) / rate / 60:,.0f} min left"
            line += f", {rate * 60:,.0f} a minute, {left}"
        terminal.print(", ".join(part for part in (line, job.words()) if part))
        before, then = done, now


class Cost:
    """What a job asked of each role's servers, in requests, tokens and money.

    Args:
        usage: of each role.
        prices: of a role, money for a million tokens in and out; not every role needs them.
    """

    def __init__(
        self, usage: dict[str, Usage], prices: dict[str, tuple[float, float]] | None = None
    ) -> None:
        self.usage = usage
        self.prices = prices or {}

    def words(self) -> str:
        """Return tokens and money so far, for the progress."""
        shown = []
        for role, usage in self.usage.items():
            tokens = f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
            shown.append(f"{role} {tokens}{self._money(role)}")
        return ", ".join(shown)

    def lines(self) -> list[str]:
        """Return a line for each role, and one for the money altogether."""
        lines = [
            f"{role}: {usage.requests:,} requests, {usage.retries:,} retries, "
            f"{self._tokens(usage)}{self._money(role)}"
            for role, usage in self.usage.items()
        ]
        if len(self.prices) > 1:
            lines.append(f"cost of this run: {sum(map(self._cost, self.prices)):.2f}")
        return lines

    def _tokens(self, usage: Usage) -> str:
        if usage.requests and not usage.prompt_tokens:
            return "the server counts no tokens"
        return f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"

    def _cost(self, role: str) -> float:
        price_in, price_out = self.prices[role]
        usage = self.usage[role]
        return (usage.prompt_tokens * price_in + usage.completion_tokens * price_out) / 1e6

    def _money(self, role: str) -> str:
        return f", cost {self._cost(role):.2f}" if role in self.prices else ""


def read_price(text: str) -> tuple[float, float]:
    """Read "IN,OUT", money for a million tokens.

    Raises:
        RlkdError: if it is not of this form.
    """
    try:
        price_in, price_out = map(float, text.split(","))
        if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
            raise ValueError
    except ValueError:
        raise RlkdError(f"{text!r} is no price: give IN,OUT, for example 2.5,10") from None
    return price_in, price_out
