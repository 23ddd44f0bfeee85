"""The JSON files of a job's folder, written and read by their classes.

A file is replaced at once: a reader sees all of it or none.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_files import write_whole

PLAN = "plan.json"

T = TypeVar("T")


def write_json(file: Path, value: object) -> None:
    """Replace a file by one JSON value."""
    write_whole(file, msgspec.json.format(msgspec.json.encode(value), indent=1))


def read_json(file: Path, kind: type[T]) -> T:
    """Read a file of one JSON value.

    Raises:
        OSError: if it cannot be opened.
        RlkdError: if it is not JSON, or lacks a field of `kind`.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RlkdError(f"{file.name} is not readable: {error}") from None


def read_kept(folder: Path, name: str, kind: type[T], what: str) -> T:
    """Read a job's result from its folder.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    try:
        return read_json(folder / name, kind)
    except (OSError, RlkdError) as error:
        raise RlkdError(f"{folder} has no {what} ({name}): {error}") from None
