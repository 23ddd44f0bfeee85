"""The hidden files of `rlkd prepare`: the rows so far, and the job's progress.

A stopped job resumes from them, if they are its own and unchanged.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_files import append_all, still_there, write_whole

BEGIN = b'{"job": '
"""The first bytes of a progress file."""
BLOCK = 1 << 20

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """The progress of a job: what it has read, written and refused.

    Attributes:
        job: the format, our version, and path, size and time of each source file.
        read: rows of the source that are kept or refused.
        written: bytes of the unfinished file that hold their rows.
        content: a hash of these bytes.
        kept: number of these rows.
        without_solution: kept rows without a final answer that `accuracy` could check.
        normalised: kept rows with a gold answer in another notation than the source's.
        refused: rows refused, by reason.
    """

    job: list[Any]
    read: int = 0
    written: int = 0
    content: str = ""
    kept: int = 0
    without_solution: int = 0
    normalised: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def account(self) -> Account:
        """The outcome of every row that was read, by this run and those that it resumes."""
        return Account(self.read, {"kept": self.kept, "refused": self.refused.total()})


@dataclass(frozen=True)
class HiddenFiles:
    """Paths of the two files, next to the file that OUT is or links to."""

    part: Path
    saved: Path

    @classmethod
    def of(cls, out: Path) -> "HiddenFiles":
        """Return the files of an OUT that is not a link."""
        part, saved = f".{out.name}.part", f".{out.name}.progress.json"
        return cls(out.with_name(part), out.with_name(saved))

    def check_none_is(self, source: list[Path]) -> None:
        """Check that no file of a source is one of them.

        Raises:
            RlkdError: if one is, as the job would empty it.
        """
        for hidden in filter(Path.exists, (self.part, self.saved)):
            if same := [file for file in source if hidden.samefile(file)]:
                raise RlkdError(
                    f"{same[0]} has the name of a hidden file of this job; rename it, or write "
                    "another OUT"
                )


class UnfinishedRows:
    """The rows so far; `lines` is claimed by this process.

    Args:
        files: their paths.
        lines: the open file of the rows.
    """

    def __init__(self, files: HiddenFiles, lines: BinaryIO) -> None:
        self.files = files
        self._lines = lines
        self._digest = hashlib.blake2b(digest_size=16)

    def load(self, job: list[Any]) -> Progress:
        """Return the saved progress of the same job if its rows still exist, or a new one.

        Raises:
            RlkdError: if one of the files is not this job's; then nothing is changed.
        """
        saved, size = self.files.saved, self._lines.seek(0, os.SEEK_END)
        content = saved.read_bytes() if saved.exists() else b""
        for file, is_foreign in (
            (saved, not content.startswith(BEGIN[: len(content)])),
            (self.files.part, size and not saved.exists()),
        ):
            if is_foreign:
                if not size:
                    self.files.part.unlink()  # created by the claim
                raise RlkdError(f"{file} is not of this job, which needs its name: move it away")
        progress = self._read(content, job)
        self._lines.truncate(progress.written)  # rows after these were not saved as done
        write_whole(saved, json.dumps(vars(progress)))  # rows without it are another job's
        return progress

    def _read(self, content: bytes, job: list[Any]) -> Progress:
        new = Progress(job, content=self._digest.hexdigest())
        try:
            progress = Progress(**json.loads(content))
        except (ValueError, TypeError):
            return new
        if progress.job == job and self._hash(progress.written) == progress.content:
            progress.refused = Counter(progress.refused)
            return progress
        if progress.read:
            words = "%s is of another job, or its rows are missing: starting from row 1"
            logger.warning(words, self.files.saved)
        self._digest = hashlib.blake2b(digest_size=16)
        return new

    def _hash(self, size: int) -> str:
        """Return the hash of the first bytes."""
        self._lines.seek(0)
        while size > 0 and (block := self._lines.read(min(size, BLOCK))):
            self._digest.update(block)
            size -= len(block)
        return self._digest.hexdigest()

    def append(self, rows: bytes, progress: Progress) -> None:
        """Append rows, then save the progress.

        Raises:
            RlkdError: if there is no room for them, or the file was removed or changed.
        """
        self.check(progress.written - len(rows))
        self._digest.update(rows)
        progress.content = self._digest.hexdigest()
        try:
            append_all(self._lines, rows)
            write_whole(self.files.saved, json.dumps(vars(progress)))
        except OSError as error:
            raise RlkdError(
                f"{self.files.part.parent}: {error.strerror}; the rows that were saved stay. Make "
                "room, then give the same command again"
            ) from error

    def check(self, size: int) -> None:
        """Check that the file is still there, and holds what was written.

        Raises:
            RlkdError: if it was removed, moved, replaced or changed.
        """
        there = self._lines.seek(0, os.SEEK_END)
        if not still_there(self._lines, self.files.part):
            fault = "was removed, moved or replaced"
        elif there != size:
            fault = f"was changed by another program ({there:,} bytes instead of {size:,})"
        else:
            return
        raise RlkdError(
            f"{self.files.part} {fault} while the job ran; give the same command again, which "
            "resumes or starts over"
        )
