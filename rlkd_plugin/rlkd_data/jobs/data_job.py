"""What a data job is told: its rows, its result, and its part of the work."""

from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import row_files


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `parts` parts of a source, which together are all its rows."""

    number: int = 1
    parts: int = 1

    def holds(self, identity: int) -> bool:
        """Say whether the row of an identity is in this part."""
        return identity % self.parts == self.number - 1


@dataclass(frozen=True)
class DataJob:
    """Where a job reads and writes, and how much of it at once.

    Attributes:
        source: of the rows: a file or a folder, JSON lines or Parquet.
        out: the file to write, JSON lines.
        concurrency: rows, or requests for several rows, in work at once.
        shard: the part of the source to work on.
    """

    source: Path
    out: Path
    concurrency: int = 8
    shard: Shard = Shard()

    def file_beside(self, name: str) -> Path:
        """Return the path of a second file of the job, `OUT.NAME.jsonl`."""
        return self.out.with_name(f"{self.out.name}.{name}.jsonl")


def source_files(source: Path, out: Path) -> list[Path]:
    """Return the files of a source that a job reads while it writes `out`.

    Raises:
        RlkdError: if there are none, or `out` is one of them or would be read as one the next time.
    """
    files = row_files(source)
    if any(out.exists() and out.samefile(file) for file in files):
        raise RlkdError(f"{out} is the source itself; name another file to write")
    if source.is_dir() and out.parent.is_dir() and out.parent.samefile(source):
        raise RlkdError(f"{out} would be read as a source; write it to another folder")
    return files
