"""Claims a result for one job, before any of its files is opened for writing.

A job claims the record next to OUT, checks that it describes this job (`result`), and only then
opens OUT and its second files. Not here: how lines are appended (`result_file`).
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
    claim,
    json_line,
    open_whole,
    publish,
)


class OwnedResult:
    """A result that only this process may write.

    Args:
        result: the result.
        record: its record, which is claimed.
        claims: released when the job ends.
    """

    def __init__(self, result: Result, record: Record, claims: ExitStack) -> None:
        self.result = result
        self.record = record
        self._claims = claims

    def open(self, ending: str = "") -> ResultFile:
        """Return a file of the result to append lines to; use it with `with`."""
        label = self.record.label_of(self.result.maker.facts) if self.record.is_mixed else None
        return ResultFile(self.result.file(ending), self.result.shapes[ending], maker=label)

    def publish(self, part: Path) -> None:
        """Rename a complete file to OUT; the record fits OUT even after a kill at any time.

        Raises:
            RlkdError: if OUT was changed after this job wrote it.
        """
        check_stamp(self.result.out, self.record)
        stamp = content_stamp(part)
        self.write(replace(self.record, stamp=(*self.record.stamp, stamp)))
        publish(part, self.result.out)
        self.write(replace(self.record, stamp=(stamp,)))

    def write(self, record: Record) -> None:
        """Replace the record atomically; the new file is claimed before it gets its name."""
        place = record_file(self.result.out)
        part = place.with_name(f".{place.name}.part")
        part.unlink(missing_ok=True)
        lines = self._claims.enter_context(claim(part, self.result.out))
        append_all(lines, record.encode())
        publish(part, place)
        self.record = record


@contextmanager
def own(result: Result, *, mix: bool = False) -> Iterator[OwnedResult]:
    """Own a result while the body writes it; remove files that are empty at the end.

    Args:
        result: new, or one that this job wrote before.
        mix: whether to resume a result of another maker; then each line names its maker.

    Raises:
        RlkdError: if a file is not this job's, is another maker's, or is claimed by another
            process; then nothing is changed.
    """
    _check_places(result)
    place = record_file(result.out)
    check_result(result, read_record(place), mix)  # before anything is created
    is_ours = False
    with ExitStack() as claims:
        claims.enter_context(claim(place, result.out))
        try:
            # another job may have been faster
            record = check_result(result, read_record(place), mix)
            is_ours = True
            if record is None:
                record = result.record()
            elif record.label_of(result.maker.facts) is None:
                record = _mix(result, record)
            owned = OwnedResult(result, record, claims)
            owned.write(replace(record.learn(result.maker.facts), is_done=False))
            yield owned
            owned.write(replace(owned.record, is_done=True))
        finally:
            if is_ours:
                _remove_empty(result, place)
            else:
                _remove_if_empty(place)


@contextmanager
def own_new(result: Result, record: Record) -> Iterator[OwnedResult]:
    """Own a new result that the body writes as a whole.

    Args:
        result: none of its files may exist.
        record: its record at the end.

    Raises:
        RlkdError: if a file exists already, also one that a killed job left.
    """
    _check_places(result)
    place = record_file(result.out)
    _check_new(result)
    with ExitStack() as claims:
        claims.enter_context(claim(place, result.out))
        _check_new(result)  # another job may have been faster
        try:
            owned = OwnedResult(result, record, claims)
            owned.write(replace(record, is_done=False))
            yield owned
            stamp = () if result.shapes[""] else (content_stamp(result.out),)
            owned.write(replace(record, stamp=stamp))
        finally:
            _remove_empty(result, place)


def _check_places(result: Result) -> None:
    check_place(result.out)  # first: the other names derive from it
    for file in result.files:
        check_place(file)


def _check_new(result: Result) -> None:
    """Check that no file of a result exists, nor an unreadable record.

    Raises:
        RlkdError: if one does.
    """
    if there := [file for file in result.files if file.exists()]:
        raise RlkdError(f"{there[0]} exists already: {OTHER_FILE}, or remove this one")
    read_record(record_file(result.out))


def _mix(result: Result, record: Record) -> Record:
    """Add its maker to every existing line, and return the record with a second maker."""
    first = next(iter(record.makers))
    for file, shape in result.files_of_lines.items() if not record.is_mixed else ():
        with open_whole(file) as lines, ResultFile(file, shape) as rows:
            for row in rows.rows():
                lines.write(json_line({**row, MAKER: row.get(MAKER, first)}, escape=True))
    makers = {**record.makers, result.maker.label: result.maker.facts}
    return replace(record, makers=makers, is_mixed=True)


def _remove_empty(result: Result, place: Path) -> None:
    """Remove empty files, and the record if no file is left."""
    for file in result.files:
        _remove_if_empty(file)
    if not any(file.exists() for file in result.files):
        with suppress(OSError):
            place.unlink()


def _remove_if_empty(file: Path) -> None:
    with suppress(OSError):  # it or its folder may be gone, which the job reports
        if not file.stat().st_size:
            file.unlink()
