"""Claims a result for one job: nothing of it is opened for writing before its record was read.

A job claims the record beside OUT, compares it with itself (`result`), and only then opens OUT and
its second files. Not here: how lines are appended (`result_file`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import Record, content_stamp, read_record, record_file
from rlkd_plugin.rlkd_data.jobs.result import Result, check_result, check_stamp
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.result_lines import MAKER, OTHER_FILE
from rlkd_plugin.rlkd_files import (
    append_all,
    check_place,
    claimed,
    json_line,
    open_whole,
    publish,
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
        label = self.record.label_of(self.result.maker.facts) if self.record.is_mixed else None
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
    _check_places(result)
    place = record_file(result.out)
    check_result(result, read_record(place), mix)  # before anything is created
    is_ours = False
    with ExitStack() as claims:
        claims.enter_context(claimed(place, result.out))
        try:
            record = check_result(
                result, read_record(place), mix
            )  # another job may have been faster
            is_ours = True
            if record is None:
                record = result.record()
            elif record.label_of(result.maker.facts) is None:
                record = _mix(result, record)
            owned = Owned(result, record, claims)
            owned.write(replace(record.learn(result.maker.facts), is_done=False))
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
    _check_places(result)
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


def _check_places(result: Result) -> None:
    check_place(result.out)  # first: the other names come of it
    for file in result.files:
        check_place(file)


def _check_new(result: Result) -> None:
    """Check that nothing of a result is there, and no record of somebody else.

    Raises:
        RlkdError: if something is.
    """
    if there := [file for file in result.files if file.exists()]:
        raise RlkdError(f"{there[0]} is there already: {OTHER_FILE}, or remove this one")
    read_record(record_file(result.out))


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
