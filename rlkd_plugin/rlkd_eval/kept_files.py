"""The JSON files of a job's folder: its result, and the plan by which it resumes.

A file is replaced at once: a reader sees all of it or none.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import Maker, Record, differences, read_record
from rlkd_plugin.rlkd_files import append_lines, claimed, write_whole

PLAN = "plan.json"
BEFORE_RECORDS = "a version that kept no command"
OLD_PLANS = ({"subject", "problems"}, {"engine", "samples"})
"""Keys of the plans of earlier versions, which were the facts alone: `eval` and `diversity`."""

T = TypeVar("T")


def write_json(file: Path, value: object) -> None:
    """Replace a file by one JSON value."""
    write_whole(file, msgspec.json.format(msgspec.json.encode(value), indent=1))


def read_json(file: Path, kind: type[T]) -> T:
    """Read a file of one JSON value.

    Raises:
        OSError: if it cannot be opened.
        RlkdError: if it is no JSON, or lacks what `kind` needs.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RlkdError(f"{file.name} is not readable: {error}") from None


def read_kept(folder: Path, name: str, kind: type[T], what: str) -> T:
    """Read a file that a job left in its folder.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    try:
        return read_json(folder / name, kind)
    except (OSError, RlkdError) as error:
        raise RlkdError(f"{folder} holds no {what} ({name}): {error}") from None


def keep_plan(folder: Path, command: str, facts: Mapping[str, Any], names: Sequence[str]) -> None:
    """Create a job's folder with its plan, or check that the folder is of the same job.

    Args:
        folder: of the job.
        command: that writes there: "rlkd eval".
        facts: the plan: what the results depend on.
        names: of the files and folders that the job writes there.

    Raises:
        RlkdError: if another job has begun there (the message says what differs), or something
            there has a name that this job would write.
    """
    maker = Maker("", facts)
    record = read_plan(folder)
    if record is None:
        if there := [name for name in names if (folder / name).exists()]:
            raise RlkdError(
                f"{folder / there[0]} is there already, and no {PLAN} says that `{command}` made "
                "it: name a new folder"
            )
        record = Record(command=command, makers={maker.label: facts})
        folder.mkdir(parents=True, exist_ok=True)
        append_lines(folder / PLAN, record.encode())
    if record.command not in (command, BEFORE_RECORDS):
        fault = f"was made by `{record.command}`, not by `{command}`"
    elif differs := differences(record.last(), maker):
        fault = f"is another job's ({'; '.join(differs)})"
    else:
        return
    raise RlkdError(f"{folder} {fault}: name a new folder")


def read_plan(folder: Path) -> Record | None:
    """Read the plan in a folder; None where there is none.

    Raises:
        RlkdError: if it is another tool's.
    """
    file = folder / PLAN
    try:
        old = read_json(file, dict[str, Any])
    except (OSError, RlkdError):
        old = {}
    if any(names <= old.keys() for names in OLD_PLANS):
        old.pop("engine", None)  # it has a record of its own now
        return Record(command=BEFORE_RECORDS, makers={"": old})
    return read_record(file)


@contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Let no other process evaluate into a folder while the body runs; create it if absent.

    Raises:
        RlkdError: if another one does, or the folder is none.
    """
    if folder.exists() and not folder.is_dir():
        raise RlkdError(f"{folder} is no folder; name a new one")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with claimed(folder / PLAN, folder):
            yield
    finally:
        if (folder / PLAN).is_file() and not (folder / PLAN).stat().st_size:
            (folder / PLAN).unlink()  # nothing was begun
            if is_new:
                with suppress(OSError):
                    folder.rmdir()
