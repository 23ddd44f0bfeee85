"""Selects the rows that a long job has to do: those of its shard, without duplicates, not done."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlkd_plugin.gsrm import EndpointError, FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, check_unchanged, source_stamps
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_data.rows.row_format import RowFunction

REJECTED_FIRST = 10
"""Number of rejected rows up to which their share does not count."""
MAX_REJECTED = 0.05
"""Largest ratio of rejected to accepted rows; above it the server or a setting is wrong."""


@dataclass(frozen=True)
class RowKind:
    """The rows of a job.

    Attributes:
        make_row: makes one from a row of the source, or raises a `FormatError`.
        identities: returns the hashes of a row. A row is done or a duplicate if its first hash is
            known. All of its hashes become known.
    """

    make_row: RowFunction
    identities: Callable[[Row], Sequence[int]]


@dataclass
class RowCounts:
    """Counts of a source's rows by outcome.

    Attributes:
        read: rows of the source so far.
        refused: rows of all shards that the job cannot work on, by reason.
        done_before: rows that earlier runs did.
        duplicates: rows with the same content as another row.
        other_shards: rows of all other shards.
        rejected: rows that a server rejects (400, 413, 422): in no file, and retried by the next
            run of the same command.
        rejection: the server's message about the last of them.
        left_over: rows in the result that the source does not have, known at its end.
    """

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    duplicates: int = 0
    other_shards: int = 0
    rejected: int = 0
    rejection: str = ""
    left_over: int = 0

    @property
    def results(self) -> Mapping[str, int]:
        """Rows that were worked on, by outcome; each job counts its own."""
        raise NotImplementedError

    @property
    def worked(self) -> int:
        """Rows that were worked on."""
        return sum(self.results.values())

    @property
    def account(self) -> Account:
        """The outcome of every row that was read."""
        parts = {
            **self.results,
            "refused": self.refused.total(),
            "duplicates": self.duplicates,
            "done before": self.done_before,
            "of other shards": self.other_shards,
            "rejected by a server": self.rejected,
        }
        return Account(self.read, parts)

    @property
    def passed(self) -> int:
        """Rows of the source that need no more work."""
        return sum(self.account.parts.values())

    def reject(self, words: str) -> None:
        """Count a row that a server rejects; its text is the cause as long as there are few.

        Raises:
            EndpointError: if there are so many that a setting must be wrong.
        """
        self.rejected += 1
        self.rejection = words
        if self.rejected > max(REJECTED_FIRST, MAX_REJECTED * self.worked):
            raise EndpointError(
                f"the server rejected {self.rejected} rows and accepted {self.worked}; check its "
                f"settings. Its last message: {words}"
            )

    def check_done(self, job: DataJob, rows: int, lines: int) -> None:
        """Check the counts of a job after the whole source was read.

        Args:
            job: names the source and the result.
            rows: in the job's `out` now.
            lines: in all of its files before this run.

        Raises:
            RlkdError: if a row is in no part of the account, or `out` has no row.
        """
        self.account.check()
        self.left_over = max(0, lines - self.done_before)
        if not rows:
            words = ", ".join(f"{count:,} x {why}" for why, count in self.refused.most_common(5))
            raise RlkdError(
                f"{job.out} was not written, as it would have no row of {job.source}: "
                f"{self.account.line()}{f' ({words})' if words else ''}"
            )


def rows_to_do(job: DataJob, kind: RowKind, done: DoneRows, counts: RowCounts) -> Iterator[Row]:
    """Yield the rows to work on, and count the others.

    Args:
        job: names the source and the shard of it.
        kind: makes and identifies the rows.
        done: the rows that the job has done.
        counts: filled while rows are read.

    Raises:
        RlkdError: at the end, if the source was changed while the job ran.
    """
    found: set[int] = set()
    files = row_files(job.source)
    stamps = source_stamps(files)
    for _, raw in raw_rows(files):
        counts.read += 1
        try:
            if isinstance(raw, FormatError):
                raise raw
            row = kind.make_row(raw)
        except FormatError as error:
            counts.refused[str(error).partition(":")[0]] += 1
            continue
        identities = kind.identities(row)
        if not job.shard.holds(identities[0]):
            counts.other_shards += 1
            continue
        if identities[0] in found:
            counts.duplicates += 1
        elif done.see(identities[0]):
            counts.done_before += 1
        elif identities[0] in done:
            counts.duplicates += 1
        else:
            found.update(identities)
            yield row
            continue
        found.update(identities[1:])
    check_unchanged(job.source, stamps)
