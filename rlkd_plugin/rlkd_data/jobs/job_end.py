"""Shows the end of a long job, also after an error: what became of its rows, and the cost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_data.jobs.cost import Cost
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
from rlkd_plugin.rlkd_data.jobs.progress import show_progress
from rlkd_plugin.rlkd_data.rows.row_files import row_files


class JobReport(Protocol):
    """The part of a job's report that its progress and its end show."""

    @property
    def passed(self) -> int:
        """Rows of the source that need no more work."""
        ...

    @property
    def account(self) -> Account:
        """The outcome of every row that was read."""
        ...


Report = TypeVar("Report", bound=JobReport)


@contextmanager
def show_job(
    job: DataJob,
    report: Report,
    show_report: Callable[[Report, Console], None],
    cost: Cost,
    kept: Path | None = None,
) -> Iterator[None]:
    """Show a job's progress while the body runs, and its outcome, also after an error.

    Args:
        job: names the source and the file to write.
        report: filled while the job runs.
        show_report: prints the report.
        cost: counts while the job runs.
        kept: the file to which the job appends; the job's `out` by default.

    Raises:
        RlkdError: if there is no source.
    """
    row_files(job.source)  # without a source there is nothing to show
    console = Console(markup=False, highlight=False, soft_wrap=True)
    begin = time.monotonic()
    end = "stopped"
    try:
        with show_progress(job.source, lambda: report.passed, cost.progress):
            yield
        end = f"written to {job.out}"
    except (KeyboardInterrupt, EndpointError):
        grown = kept or job.out
        if grown.exists():
            end = f"stopped; {grown} keeps what is done. Give the same command again to resume"
        raise
    finally:
        if report.account.read:
            show_report(report, console)
            console.print(report.account.line())
            for line in cost.summary():
                console.print(line)
        console.print(f"{end} ({time.monotonic() - begin:,.0f} s)")
