"""Whose a result is: nothing of it is opened for writing before its record was read.

A job claims the record beside OUT, compares it with itself, and only then opens OUT and its second
files. A file that is there without a record is somebody else's. Not here: what stands in a record
(`record`), and how lines are appended (`result_file`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import (
    UNKNOWN,
    Maker,
    Record,
    differences,
    read_record,
    record_file,
)
from rlkd_plugin.rlkd_data.jobs.result_file import MAKER, ResultFile, check_lines
from rlkd_plugin.rlkd_files import (
    append_all,
    claimed,
    follow_link,
    json_line,
    open_whole,
    publish,
)

FOREIGN = "name another file to write"
"""What to do about a file that is somebody else's."""
MIX = "; --mix goes on with it, and each line then names its maker"
"""Ends a message about a result of another maker."""


@dataclass(frozen=True)
class Result:
    """What a job writes.

    Attributes:
        command: that writes it: "rlkd structure".
        out: the file.
        maker: what its lines depend on.
        columns: of the lines of each file, by what stands behind OUT in its name; "" is OUT.
        source: the only one that this result may be of; "" where it may grow by others.
        shard: the part of the source that this job works on; "" for all of it.
        may_mix: whether a user can go on with what other settings made, by --mix.
        remedy: what else to do about a result that was made otherwise.
    """

    command: str
    out: Path
    maker: Maker
    columns: Mapping[str, Sequence[str]]
    source: str = ""
    shard: str = ""
    may_mix: bool = False
    remedy: str = f"{FOREIGN}, or remove this one"

    def file(self, ending: str) -> Path:
        """Return the place of a file of the result."""
        return self.out.with_name(self.out.name + ending)

    @property
    def files(self) -> list[Path]:
        """The files of the result, OUT first."""
        return [self.file(ending) for ending in self.columns]

    def may_be_file(self, file: Path) -> bool:
        """Say whether a file's lines are those of this job, whatever made them."""
        try:
            check_lines(file, self.columns[file.name.removeprefix(self.out.name)])
        except RlkdError:
            return False
        return True

    def record(self) -> Record:
        """Return the record of a new result."""
        columns = {ending: [*names] for ending, names in self.columns.items()}
        makers = {self.maker.label: self.maker.facts}
        return Record(
            command=self.command,
            columns=columns,
            source=self.source,
            shard=self.shard,
            makers=makers,
        )


@dataclass(frozen=True)
class Owned:
    """A result that this process alone may write.

    Attributes:
        result: whose.
        maker: what each new line names as its maker; None in a result of one maker.
        is_new: whether OUT was not there at the beginning.
    """

    result: Result
    maker: str | None
    is_new: bool

    def open(self, ending: str = "") -> ResultFile:
        """Return a file of the result whose lines are appended, to be entered with `with`."""
        return ResultFile(self.result.file(ending), *self.result.columns[ending], maker=self.maker)

    def check_untouched(self) -> None:
        """Check that nobody else has written OUT, before it is replaced as a whole.

        Raises:
            RlkdError: if somebody has.
        """
        if self.is_new and self.result.out.exists():
            raise RlkdError(
                f"{self.result.out} was written by something else while the job ran; move it away, "
                "then give the same command again"
            )


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
        lines = claims.enter_context(claimed(place, result.out))
        try:
            record = _check(result, read_record(place), mix)  # another job may have been faster
            is_ours = True
            if record is None:
                record = result.record()
                lines.truncate(0)
                append_all(lines, record.encode())
            elif record.label_of(result.maker) is None:
                record = _mix(result, record)
                _replace_record(claims, result.out, record)
            maker = record.label_of(result.maker) if record.is_mixed else None
            yield Owned(result, maker, not result.out.exists())
        finally:
            if is_ours:
                _remove_empty(result, place)
            else:
                _remove_if_empty(place)


@contextmanager
def own_new(out: Path, record: Record) -> Iterator[None]:
    """Own a result that the body writes as a whole; after a kill the same job may do so again.

    Raises:
        RlkdError: if something is there already.
    """
    check_place(out)
    place = record_file(out)
    files = [out.with_name(out.name + ending) for ending in record.columns]
    before = read_record(place)
    there = [file for file in files if file.exists()]
    if there and not (before and before.is_merging and before.command == record.command):
        raise RlkdError(f"{there[0]} is there already: {FOREIGN}")
    with ExitStack() as claims:
        claims.enter_context(claimed(place, out))
        try:
            _replace_record(claims, out, replace(record, is_merging=True))
            yield
            _replace_record(claims, out, record)
        finally:
            if not any(file.exists() for file in files):
                place.unlink(missing_ok=True)


def _replace_record(claims: ExitStack, out: Path, record: Record) -> None:
    """Replace a record at once; the new file is claimed already when it gets its name."""
    place = record_file(out)
    part = place.with_name(f".{place.name}.part")
    part.unlink(missing_ok=True)
    lines = claims.enter_context(claimed(part, out))
    append_all(lines, record.encode())
    publish(part, place)


def check_place(out: Path) -> None:
    """Check that there is a folder for a file.

    Raises:
        RlkdError: if there is none.
    """
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
            f"{there[0]} was made by `{record.command}`, not by `{result.command}`: {FOREIGN}"
        )
    if record.is_merging:
        raise RlkdError(f"{there[0]} is not whole: give the `rlkd merge` command again")
    if record.columns != result.record().columns:
        fault = f"has the columns of version {record.version} of the plugin: {record.columns}"
    elif record.source != result.source:
        fault = f"was made from {record.source}, not from {result.source}"
    elif record.label_of(result.maker) is None and not mix:
        found = "; ".join(differences(record.last(), result.maker))
        fault = f"was made with other settings ({found})"
    else:
        return record
    mix_helps = result.may_mix and "settings" in fault
    raise RlkdError(f"{there[0]} {fault}: {result.remedy}{MIX if mix_helps else ''}")


def _without_record(result: Result, file: Path, mix: bool) -> Record:
    """Return a record for a result of a version that kept none, if the user says that it is one.

    Raises:
        RlkdError: if the user does not, or its lines are others.
    """
    lines = [
        f for end, names in result.columns.items() if names and (f := result.file(end)).exists()
    ]
    if not (mix and lines):
        message = (
            f"{file} is there already, and no {record_file(result.out).name} says that "
            f"`{result.command}` made it: {FOREIGN}"
        )
        if result.may_mix and lines and all(map(result.may_be_file, lines)):
            message += f"; if an older version of the plugin made it{MIX.replace(';', ',')}"
        raise RlkdError(message)
    for ending, columns in result.columns.items():
        if (file := result.file(ending)) in lines:
            check_lines(file, columns)
    return replace(result.record(), makers={UNKNOWN: {}})


def _mix(result: Result, record: Record) -> Record:
    """Let every line that is there name its maker, and return the record with a second one."""
    first = next(iter(record.makers))
    for ending, columns in result.columns.items() if not record.is_mixed else ():
        if columns and (file := result.file(ending)).exists():
            with open_whole(file) as lines, ResultFile(file, *columns) as rows:
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
