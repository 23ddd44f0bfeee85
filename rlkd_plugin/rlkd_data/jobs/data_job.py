"""The arguments of a data job: its source, its result, and its shard; checks of the source."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import row_files, unread_files
from rlkd_plugin.rlkd_files import add_ending

UNREAD_SHOWN = 10
"""Maximum names of unread files in a message."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `parts` parts of a source, which together are all its rows."""

    number: int = 1
    parts: int = 1

    @property
    def name(self) -> str:
        """The shard as `--shard` names it, "" for the whole source."""
        return f"{self.number}/{self.parts}" if self.parts > 1 else ""

    def holds(self, identity: int) -> bool:
        """Return whether the row with a hash is in this part."""
        return identity % self.parts == self.number - 1


@dataclass(frozen=True)
class DataJob:
    """The source, the result and the concurrency of a job.

    Attributes:
        source: a file or a folder of rows, in any form that `rows.row_files` reads.
        out: the file to write, JSON lines.
        concurrency: rows, or requests for several rows, in work at once.
        shard: the part of the source to work on.
        mix: whether to resume an `out` that was made with other settings.
    """

    source: Path
    out: Path
    concurrency: int = 8
    shard: Shard = Shard()
    mix: bool = False

    def file_beside(self, ending: str) -> Path:
        """Return the path of a second file of the job: `out` with an ending."""
        return add_ending(self.out, ending)


Stamps = dict[str, tuple[int, int]]
"""Size and modification time of each file of a source."""


def source_stamps(files: Sequence[Path]) -> Stamps:
    """Return size and modification time of files, to find later changes."""
    found = {}
    for file in files:
        status = file.stat()
        found[str(file.resolve())] = (status.st_size, status.st_mtime_ns)
    return found


def check_unchanged(source: Path, before: Stamps) -> None:
    """Check that a source is unchanged since a job began to read it.

    Raises:
        RlkdError: if a file was changed, removed or added.
    """
    try:
        is_same = source_stamps(row_files(source)) == before
    except (OSError, RlkdError):
        is_same = False
    if not is_same:
        raise RlkdError(
            f"{source} was changed while the job ran, so rows of it may be missing; give the same "
            "command again"
        )


def source_files(source: Path, out: Path) -> list[Path]:
    """Return the files of a source that a job reads, and warn of the others.

    Raises:
        RlkdError: if there are none, or `out` is one of them or would be read as one the next time.
    """
    files = row_files(source)
    if any(out.exists() and out.samefile(file) for file in files):
        raise RlkdError(f"{out} is the source itself; name another file to write")
    if source.is_dir() and out.parent.is_dir() and out.parent.samefile(source):
        raise RlkdError(
            f"{out} would be read as a source, as it is in the source folder; write it to another "
            "folder"
        )
    if others := unread_files(source):
        shown = ", ".join(others[:UNREAD_SHOWN])
        more = f" and {len(others) - UNREAD_SHOWN} more" if len(others) > UNREAD_SHOWN else ""
        logger.warning("%s: not read: %s%s", source, shown, more)
    return files
