"""Which rows of a source a long job still has to do: its shard's, each once, none done before."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rlkd_plugin.gsrm import EndpointError, FormatError
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_data.rows.row_format import RowFunction

REJECTED_FIRST = 10
"""Rows that a server may reject before the share of rejected rows counts."""
MAX_REJECTED = 0.05
"""Rejected rows to those that were worked on; beyond it the server or a setting is wrong."""


@dataclass(frozen=True)
class RowKind:
    """The rows of a job.

    Attributes:
        make_row: makes one from a row of the source, or refuses it with a `FormatError`.
        identity: of a row that was made; equal for duplicates.
    """

    make_row: RowFunction
    identity: Callable[[Row], int]


@dataclass
class RowCounts:
    """What became of a source's rows before any work.

    Attributes:
        refused: rows of all shards that the job cannot work on, by reason.
        done_before: rows that this job did before it was stopped.
        duplicates: rows with the same texts as another row.
        other_shards: rows of all other shards.
        rejected: rows that a server rejects (400, 413, 422): in no file, and retried by the next
            run of the same command.
        rejection: the server's words about the last of them.
    """

    refused: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    duplicates: int = 0
    other_shards: int = 0
    rejected: int = 0
    rejection: str = ""

    @property
    def worked(self) -> int:
        """Rows that were worked on: each job counts its own."""
        raise NotImplementedError

    @property
    def passed(self) -> int:
        """Rows of the source that need no more work."""
        others = self.done_before + self.duplicates + self.other_shards + self.rejected
        return self.worked + self.refused.total() + others

    def reject(self, words: str) -> None:
        """Count a row that a server rejects; a few such rows are the fault of their texts.

        Raises:
            EndpointError: if there are so many that a setting must be wrong.
        """
        self.rejected += 1
        self.rejection = words
        if self.rejected > max(REJECTED_FIRST, MAX_REJECTED * self.worked):
            raise EndpointError(
                f"{self.rejected} rows were rejected and {self.worked} were not; the last "
                f"time: {words}"
            )


def rows_to_do(job: DataJob, kind: RowKind, done: set[int], counts: RowCounts) -> Iterator[Row]:
    """Yield the rows to work on, and count the others.

    Args:
        job: names the source and the shard of it.
        kind: of the rows.
        done: the identities of the rows that the job has done.
        counts: filled while rows are read.
    """
    found: set[int] = set()
    for _, raw in raw_rows(row_files(job.source)):
        try:
            if isinstance(raw, FormatError):
                raise raw
            row = kind.make_row(raw)
        except FormatError as error:
            counts.refused[str(error).partition(":")[0]] += 1
            continue
        identity = kind.identity(row)
        if not job.shard.holds(identity):
            counts.other_shards += 1
        elif identity in done:
            counts.done_before += 1
        elif identity in found:
            counts.duplicates += 1
        else:
            found.add(identity)
            yield row
