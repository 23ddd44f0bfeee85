"""The JSON files of a job's folder: its result, and the plan by which it resumes.

A file is replaced at once: a reader sees all of it or none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

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


def keep_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Create a job's folder with its plan, or check that the folder is of the same job.

    Raises:
        RlkdError: if another job has begun there; the message says what differs.
    """
    if (folder / PLAN).is_file():
        before = read_kept(folder, PLAN, dict[str, Any], "plan")
        now = msgspec.json.decode(msgspec.json.encode(plan))
        differs = [
            f"{name}: {before.get(name)!r} there, {now.get(name)!r} now"
            for name in before | now
            if before.get(name) != now.get(name)
        ]
        if differs:
            raise RlkdError(f"{folder} is another job's ({'; '.join(differs)}): name a new folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, plan)
