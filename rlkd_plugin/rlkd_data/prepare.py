"""The job behind `rlkd prepare`: other people's JSON lines in, rows for GRPO out.

Read, one pure row function, write. A line that cannot be used is refused with its place and
reason, and never stops the job.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.row_format import ROW_FUNCTIONS, Row

SHOWN = 20  # lines shown for each reason; a file in the wrong format would show millions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """How many rows were written, and how many lines were refused for which reason."""

    kept: int
    refused: Mapping[str, int]


def prepare(name: str, source: Path, out: Path) -> Summary:
    """Turn a JSONL file of a known format into rows for `--dataset rlkd/jsonl:OUT`.

    `out` is whole or absent: it is written beside itself and renamed at the end, over what was
    there before.

    Raises:
        RlkdError: before any work if the format is unknown or a path is wrong; after it if no
            row could be used.
    """
    _check(name, source, out)
    refused: Counter[str] = Counter()
    kept = 0
    # the process id, so that two jobs for one file do not write into each other
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with source.open("rb") as lines, unfinished.open("wb") as rows:
            for place, result in convert(lines, ROW_FUNCTIONS[name]):
                if isinstance(result, FormatError):
                    _note(refused, f"{source}:{place}", str(result))
                else:
                    rows.write(result)
                    kept += 1
        for reason, count in refused.items():
            if count > SHOWN:
                logger.warning("... and %d more: %s", count - SHOWN, reason)
        if not kept:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in refused.items())
            raise RlkdError(
                f"{source} has no row in the format {name} ({reasons or 'it is empty'}); "
                f"{out} was not written"
            )
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return Summary(kept, dict(refused))


def convert(
    lines: Iterator[bytes], make_row: Callable[[Mapping[str, Any]], Row]
) -> Iterator[tuple[int, bytes | FormatError]]:
    """Yield for each line that is not blank its number, and its row or why it has none."""
    for number, line in enumerate(lines, start=1):
        line = line.rstrip(b"\r\n")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            yield number, _encoded(make_row(_object(line)))
        except FormatError as error:
            yield number, error


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8: byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"broken JSON: {error.msg}, character {error.pos + 1}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of 4301 digits
        raise FormatError(f"JSON that Python does not read: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"no JSON object: {value!r:.80}")
    return value


def _encoded(row: Row) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise FormatError(f"half a surrogate pair, which no file can hold: {half!a}") from None


def _note(refused: Counter[str], place: str, message: str) -> None:
    reason = message.partition(":")[0]
    refused[reason] += 1
    if refused[reason] <= SHOWN:
        logger.warning("%s: %s", place, message)


def _check(name: str, source: Path, out: Path) -> None:
    if name not in ROW_FUNCTIONS:
        raise RlkdError(f"unknown format {name!r}; known: {', '.join(sorted(ROW_FUNCTIONS))}")
    if not source.is_file():
        raise RlkdError(f"there is no file {source}")
    if not out.parent.is_dir():
        raise RlkdError(f"there is no folder {out.parent} for {out.name}; make it first")
    if out.is_dir():
        raise RlkdError(f"{out} is a folder; name the file to write")
    if out.exists() and out.samefile(source):
        raise RlkdError(f"{out} is the source itself; name another file to write")
