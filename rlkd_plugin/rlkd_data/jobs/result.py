"""The result of a job, and the check that the job may write it.

A file of another job or of another maker is rejected. Not here: the record (`record`), and how a
result is claimed (`ownership`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import (
    UNKNOWN,
    Maker,
    Record,
    content_stamp,
    differences,
    record_file,
)
from rlkd_plugin.rlkd_data.jobs.result_lines import OTHER_FILE, Shape, check_lines
from rlkd_plugin.rlkd_files import add_ending

MIX = "--mix resumes it, and each line then names its maker"
"""The end of a message about a result of another maker."""


@dataclass(frozen=True)
class Result:
    """The files that a job writes.

    Attributes:
        command: the command that writes it: "rlkd structure".
        out: the file.
        maker: what its lines depend on.
        shapes: columns of the lines of each file, by the ending of its name; "" is OUT. A file of
            any shape is replaced as a whole; to others, lines are appended.
        source: the only source that it may be made from; "" where others may be added.
        shard: the part of the source that this job works on; "" for all of it.
        may_mix: whether --mix can resume a result of other settings.
        remedy: what to do about a result that cannot be resumed.
    """

    command: str
    out: Path
    maker: Maker
    shapes: Mapping[str, Shape]
    source: str = ""
    shard: str = ""
    may_mix: bool = False
    remedy: str = f"{OTHER_FILE}, or remove this one"

    def file(self, ending: str) -> Path:
        """Return the path of a file of the result."""
        return add_ending(self.out, ending)

    @property
    def files(self) -> list[Path]:
        """The files of the result, OUT first."""
        return [self.file(ending) for ending in self.shapes]

    @property
    def files_of_lines(self) -> dict[Path, Shape]:
        """The existing files to which lines are appended, with their shapes."""
        files = {self.file(ending): shape for ending, shape in self.shapes.items() if shape}
        return {file: shape for file, shape in files.items() if file.exists()}

    def record(self) -> Record:
        """Return the record of a new result."""
        columns = {ending: [*shape] for ending, shape in self.shapes.items()}
        makers = {self.maker.label: self.maker.facts}
        return Record(
            command=self.command,
            columns=columns,
            source=self.source,
            shard=self.shard,
            makers=makers,
        )


def check_result(result: Result, record: Record | None, mix: bool) -> Record | None:
    """Return the record of a result that this job may write; None if it is new.

    Raises:
        RlkdError: if it may not.
    """
    there = [file for file in result.files if file.exists()]
    if not there:
        return None  # a record without files is stale
    if record is None:
        return _without_record(result, there[0], mix)
    if record.command != result.command:
        raise RlkdError(
            f"{there[0]} was made by `{record.command}`, not by `{result.command}`: {OTHER_FILE}"
        )
    if not result.shapes[""]:
        check_stamp(result.out, record)
    if record.columns != result.record().columns:
        raise RlkdError(
            f"{there[0]} has the columns of version {record.version} of the plugin "
            f"({record.columns}): {result.remedy}"
        )
    if record.source != result.source:
        made_from = record.source or "results that `rlkd merge` merged"
        fault = f"was made from {made_from}, not from {result.source}"
        raise RlkdError(f"{there[0]} {fault}: {result.remedy}")
    if record.label_of(result.maker.facts) is None and not mix:
        found = "; ".join(differences(record.last(), result.maker.facts))
        raise RlkdError(
            f"{there[0]} was made with other settings ({found}): {result.remedy}"
            f"{f'; {MIX}' if result.may_mix else ''}"
        )
    return record


def _without_record(result: Result, file: Path, mix: bool) -> Record:
    """Return a record for a result of a version that kept none, if the user gives --mix.

    Raises:
        RlkdError: if the user does not, or its lines have other columns.
    """
    lines = result.files_of_lines
    if not (mix and lines):
        message = (
            f"{file} exists already, and no {record_file(result.out).name} says that "
            f"`{result.command}` made it: {OTHER_FILE}"
        )
        if result.may_mix and lines and _may_be(lines):
            message += f"; if an older version of the plugin made it, {MIX}"
        raise RlkdError(message)
    for there, shape in lines.items():
        check_lines(there, shape)
    stamp = (content_stamp(result.out),) if result.out.exists() and result.out not in lines else ()
    return replace(result.record(), makers={UNKNOWN: {}}, stamp=stamp)


def _may_be(lines: Mapping[Path, Shape]) -> bool:
    """Return whether files have the lines of a job, whatever made them."""
    try:
        for file, shape in lines.items():
            check_lines(file, shape)
    except RlkdError:
        return False
    return True


def check_stamp(out: Path, record: Record) -> None:
    """Check that a file which is replaced as a whole is still what its job wrote.

    Raises:
        RlkdError: if it was changed or replaced.
    """
    if out.exists() and content_stamp(out) not in record.stamp:
        raise RlkdError(
            f"{out} was changed after `{record.command}` wrote it: {OTHER_FILE}, or move this one "
            "away"
        )
