"""Whose a result is: nothing of it is opened for writing before its record was read.

A job claims the record beside OUT, compares it with itself, and only then opens OUT and its second
files. A file that is there without a record is somebody else's. Not here: what stands in a record
(`record`), and how lines are appended (`result_file`).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import (
    UNKNOWN,
    Maker,
    Record,
    content_stamp,
    differences,
    read_record,
    record_file,
)
from rlkd_plugin.rlkd_data.jobs.result_file import MAKER, OTHER_FILE, ResultFile, Shape, check_lines
from rlkd_plugin.rlkd_files import (
    append_all,
    claimed,
    follow_link,
    json_line,
    open_whole,
    publish,
)

MIX = "; --mix goes on with it, and each line then names its maker"
"""Ends a message about a result of another maker."""


@dataclass(frozen=True)
class Result:
    """What a job writes.

    Attributes:
        command: that writes it: "rlkd structure".
        out: the file.
        maker: what its lines depend on.
        shapes: of the lines of each file, by what stands behind OUT in its name; "" is OUT. A file
            of any shape is replaced as a whole, lines are appended to others.
        source: the only one that this result may be of; "" where it may grow by others.
        shard: the part of the source that this job works on; "" for all of it.
        may_mix: whether a user can go on with what other settings made, by --mix.
        remedy: what else to do about a result that was made otherwise.
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
        """Return the place of a file of the result."""
        return self.out.with_name(self.out.name + ending)

    @property
    def files(self) -> list[Path]:
        """The files of the result, OUT first."""
        return [self.file(ending) for ending in self.shapes]

    @property
    def files_of_lines(self) -> dict[Path, Shape]:
        """The files to which lines are appended and that are there, with their shapes."""
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


class Owned:
    """A result that this process alone may write.

    Args:
        result: whose.
        record: of it, in its place and claimed.
        claims: are left when the job ends.
    """

    def __init__(self, result: Result, record: Record, claims: ExitStack) -> None:
        self.result = result
        self.record = record
        self._claims = claims

    def open(self, ending: str = "") -> ResultFile:
        """Return a file of the result whose lines are appended, to be entered with `with`."""
        label = self.record.label_of(self.result.maker) if self.record.is_mixed else None
        return ResultFile(self.result.file(ending), self.result.shapes[ending], maker=label)

    def publish(self, part: Path) -> None:
        """Give a complete file the name OUT; a kill at any time leaves a record that knows it.

        Raises:
            RlkdError: if somebody else has written OUT since this job did.
        """
        check_stamp(self.result.out, self.record)
        stamp = content_stamp(part)
        self.write(replace(self.record, stamp=(*self.record.stamp, stamp)))
        publish(part, self.result.out)
        self.write(replace(self.record, stamp=(stamp,)))

    def write(self, record: Record) -> None:
        """Replace the record at once; the new file is claimed already when it gets its name."""
        place = record_file(self.result.out)
        part = place.with_name(f".{place.name}.part")
        part.unlink(missing_ok=True)
        lines = self._claims.enter_context(claimed(part, self.result.out))
        append_all(lines, record.encode())
        publish(part, place)
        self.record = record


@contextmanager
def own(result: Result, *, mix: bool = False) -> Iterator[Owned]:
    """Own a result while the body writes it; files that are empty at the end are removed.

    Args:
        result: new, or one that this job wrote before.
        mix: whether a result of another maker may be continued; each line names its maker then.

    Raises:
        RlkdError: if a file is not this job's, another maker's, or in the hands of another process;
            then nothing was changed.
    """
    check_place(result.out)
    for file in result.files:
        if file.exists() and not file.is_file():
            raise RlkdError(f"{file} is a folder or a device; name the file to write")
    place = record_file(result.out)
    _check(result, read_record(place), mix)  # before anything is created
    is_ours = False
    with ExitStack() as claims:
        claims.enter_context(claimed(place, result.out))
        try:
            record = _check(result, read_record(place), mix)  # another job may have been faster
            is_ours = True
            if record is None:
                record = result.record()
            elif record.label_of(result.maker) is None:
                record = _mix(result, record)
            owned = Owned(result, record, claims)
            owned.write(replace(record.learn(result.maker), is_done=False))
            yield owned
            owned.write(replace(owned.record, is_done=True))
        finally:
            if is_ours:
                _remove_empty(result, place)
            else:
                _remove_if_empty(place)


@contextmanager
def own_new(result: Result, record: Record) -> Iterator[Owned]:
    """Own a result that the body writes as a whole.

    Args:
        result: of which nothing is there.
        record: what it says of itself in the end.

    Raises:
        RlkdError: if something is there already; also what a job left that was killed.
    """
    check_place(result.out)
    place = record_file(result.out)
    _check_new(result)
    with ExitStack() as claims:
        claims.enter_context(claimed(place, result.out))
        _check_new(result)  # another job may have been faster
        try:
            owned = Owned(result, record, claims)
            owned.write(replace(record, is_done=False))
            yield owned
            stamp = () if result.shapes[""] else (content_stamp(result.out),)
            owned.write(replace(record, stamp=stamp))
        finally:
            _remove_empty(result, place)


def _check_new(result: Result) -> None:
    """Check that nothing of a result is there, and no record of somebody else.

    Raises:
        RlkdError: if something is.
    """
    if there := [file for file in result.files if file.exists()]:
        raise RlkdError(f"{there[0]} is there already: {OTHER_FILE}, or remove this one")
    read_record(record_file(result.out))


def check_place(out: Path) -> None:
    """Check that there is a folder for a file.

    Raises:
        RlkdError: if there is none.
    """
    if not out.name:
        raise RlkdError(f"{str(out)!r} is no file to write")
    if not out.parent.is_dir():
        raise RlkdError(f"there is no folder {out.parent} for {out.name}; make it first")
    if not (real := follow_link(out)).parent.is_dir():
        raise RlkdError(f"{out} links to {real}, whose folder is not there; make it first")


def _check(result: Result, record: Record | None, mix: bool) -> Record | None:
    """Return the record of a result that this job may write; None if it is new.

    Raises:
        RlkdError: if it may not.
    """
    there = [file for file in result.files if file.exists()]
    if not there:
        return None  # a record that is left over says nothing
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
        made_from = record.source or "the results that `rlkd merge` put together"
        fault = f"was made from {made_from}, not from {result.source}"
        raise RlkdError(f"{there[0]} {fault}: {result.remedy}")
    if record.label_of(result.maker) is None and not mix:
        found = "; ".join(differences(record.last(), result.maker))
        raise RlkdError(
            f"{there[0]} was made with other settings ({found}): {result.remedy}"
            f"{MIX if result.may_mix else ''}"
        )
    return record


def _without_record(result: Result, file: Path, mix: bool) -> Record:
    """Return a record for a result of a version that kept none, if the user says that it is one.

    Raises:
        RlkdError: if the user does not, or its lines are others.
    """
    lines = result.files_of_lines
    if not (mix and lines):
        message = (
            f"{file} is there already, and no {record_file(result.out).name} says that "
            f"`{result.command}` made it: {OTHER_FILE}"
        )
        if result.may_mix and lines and _may_be(lines):
            message += f"; if an older version of the plugin made it{MIX.replace(';', ',')}"
        raise RlkdError(message)
    for there, shape in lines.items():
        check_lines(there, shape)
    stamp = (content_stamp(result.out),) if result.out.exists() and result.out not in lines else ()
    return replace(result.record(), makers={UNKNOWN: {}}, stamp=stamp)


def _may_be(lines: Mapping[Path, Shape]) -> bool:
    """Say whether files have the lines of a job, whatever made them."""
    try:
        for file, shape in lines.items():
            check_lines(file, shape)
    except RlkdError:
        return False
    return True


def check_stamp(out: Path, record: Record) -> None:
    """Check that a file which is replaced as a whole is still what its job wrote.

    Raises:
        RlkdError: if somebody has changed it, or put another file in its place.
    """
    if out.exists() and content_stamp(out) not in record.stamp:
        raise RlkdError(
            f"{out} is not as `{record.command}` left it, something else wrote it: {OTHER_FILE}, "
            "or move this one away"
        )


def _mix(result: Result, record: Record) -> Record:
    """Let every line that is there name its maker, and return the record with a second one."""
    first = next(iter(record.makers))
    for file, shape in result.files_of_lines.items() if not record.is_mixed else ():
        with open_whole(file) as lines, ResultFile(file, shape) as rows:
            for row in rows.rows():
                lines.write(json_line({**row, MAKER: row.get(MAKER, first)}, escape=True))
    makers = {**record.makers, result.maker.label: result.maker.facts}
    return replace(record, makers=makers, is_mixed=True)


def _remove_empty(result: Result, place: Path) -> None:
    """Remove the files that hold nothing, and the record if it describes nothing."""
    for file in result.files:
        _remove_if_empty(file)
    if not any(file.exists() for file in result.files):
        with suppress(OSError):
            place.unlink()


def _remove_if_empty(file: Path) -> None:
    with suppress(OSError):  # it or its folder may be gone, which the job has said or says next
        if not file.stat().st_size:
            file.unlink()
