"""Which rows of a source a long job still has to do: its shard's, each once, none done before."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import EndpointError, FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import raw_rows, row_files
from rlkd_plugin.rlkd_data.rows.row_format import Row, RowFunction

REFUSED_FIRST = 10
MAX_REFUSED = 0.05
"""So many rows may be refused by a server whatever became of the others, and then this share."""


@dataclass
class RowCounts:
    """What became of a source's rows before any work.

    Attributes:
        refused: of all, those that cannot, by reason.
        done_before: those that a job that was stopped had done.
        again: those that another row of the source says as well.
        elsewhere: of all, those of other shards.
        server_refused: those that a server does not take (400, 413, 422): in no file, and asked
            for again the next time.
        server_words: what it said to the last of them.
    """

    refused: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    again: int = 0
    elsewhere: int = 0
    server_refused: int = 0
    server_words: str = ""

    @property
    def worked(self) -> int:
        """Rows that were worked on: each job counts its own."""
        raise NotImplementedError

    @property
    def passed(self) -> int:
        """Rows of the source that need no more work."""
        others = self.done_before + self.again + self.elsewhere + self.server_refused
        return self.worked + self.refused.total() + others

    def refuse(self, words: str) -> None:
        """Count a row that a server does not take; one by one that is the text's fault.

        Raises:
            EndpointError: if there are so many that it must be ours.
        """
        self.server_refused += 1
        self.server_words = words
        if self.server_refused > max(REFUSED_FIRST, MAX_REFUSED * self.worked):
            raise EndpointError(
                f"{self.server_refused} rows were refused and {self.worked} were not; the last "
                f"time: {words}"
            )


def source_files(source: Path, out: Path) -> list[Path]:
    """Return the files of a source.

    Raises:
        RlkdError: if there are none, or `out` is one of them or would be one of the next time's.
    """
    files = row_files(source)
    if any(out.exists() and out.samefile(file) for file in files):
        raise RlkdError(f"{out} is the source itself; name another file to write")
    if source.is_dir() and out.parent.is_dir() and out.parent.samefile(source):
        raise RlkdError(f"{out} would be read as a source; write it to another folder")
    return files


def rows_to_do(
    files: Sequence[Path],
    make_row: RowFunction,
    key: Callable[[dict[str, Any]], int],
    done: set[int],
    shard: tuple[int, int],
    counts: RowCounts,
) -> Iterator[Row]:
    """Yield the rows to work on, and count the others.

    Args:
        files: of the source.
        make_row: of the job; a row that it refuses with a `FormatError` is counted.
        key: the identity of a row.
        done: the identities of what the job has done.
        shard: (i, n): take the i-th of n parts, which together are all rows.
        counts: filled while rows are taken.
    """
    place, parts = shard
    taken: set[int] = set()
    for _, raw in raw_rows(files):
        try:
            if isinstance(raw, FormatError):
                raise raw
            row = make_row(raw)
        except FormatError as error:
            counts.refused[str(error).partition(":")[0]] += 1
            continue
        identity = key(row)
        if identity % parts != place - 1:
            counts.elsewhere += 1
            continue
        if identity in done:
            counts.done_before += 1
        elif identity in taken:
            counts.again += 1
        else:
            taken.add(identity)
            yield row
