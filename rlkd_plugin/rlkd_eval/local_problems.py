"""Reads a local copy of a test set, with the values that evalscope's adapters expect.

evalscope needs texts for problems and answers, and fails with a validation error at anything else.
Users' files hold numbers there. Not here: which columns a test set has (`benchmarks`).
"""

import re
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_fields import number_text
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_eval.benchmarks import Benchmark
from rlkd_plugin.rlkd_files import json_line

LEVELS = ("1", "2", "3", "4", "5")

# an integer as evalscope reads it, or with a full stop after it, which evalscope does not read
_INTEGER = re.compile(r"\$?\s*(?:\\boxed\{)?\s*([+-]?\d+(?:,\d{3})*)(\.0*)?\s*\}?\s*\$?", re.ASCII)


def read_problems(bench: Benchmark, file: Path, limit: int) -> bytes:
    """Return the first problems of a local copy as JSON lines.

    Args:
        bench: the test set.
        file: the copy.
        limit: problems to read; 0 for all.

    Raises:
        RlkdError: if a row is of another shape, or there is none; the message names its place.
    """
    lines: list[bytes] = []
    for place, row in raw_rows(row_files(file)):
        if limit and len(lines) == limit:
            break
        try:
            if isinstance(row, FormatError):
                raise row
            lines.append(_line(bench, row))
        except FormatError as error:
            raise RlkdError(f"{place}: {error}") from None
    if not lines:
        raise RlkdError(f"{file} has no problem of {bench.title}")
    return b"".join(lines)


def as_text(value: Any) -> str:
    """Return a text as it is, and a number, or a list of one text or number, as a text.

    A float that is a whole number is written as one: tables with a gap hold 24 as 24.0.

    Raises:
        FormatError: if it is none of these, or blank.
    """
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list):
        return as_text(value[0])
    if number := number_text(value):
        return number.rstrip("0").rstrip(".") if "." in number else number
    raise FormatError(f"it has to be a text or a number, not {value!r:.100}")


def _line(bench: Benchmark, row: Row) -> bytes:
    """Return a row's line in the copy that evalscope reads."""
    if missing := [name for name in (*bench.texts, *bench.others) if name not in row]:
        raise FormatError(
            f"a problem of {bench.title} needs {', '.join(missing)}; "
            f"this one has {', '.join(map(str, row)) or 'nothing'}"
        )
    found = {}
    for name in bench.texts:
        try:
            found[name] = as_text(row[name])
            if bench.integers and name == "answer":
                found[name] = _integer(found[name])
        except FormatError as error:
            raise FormatError(f"{name} of a problem of {bench.title}: {error}") from None
    if "level" in bench.others:
        found["level"] = _level(row["level"])
    return json_line(row | found)


def _integer(text: str) -> str:
    """Return an answer that has to be an integer; no response could equal any other text."""
    match = _INTEGER.fullmatch(text.strip())
    if not match:
        raise FormatError(f"it has to be an integer, not {text!r:.100}")
    return match[1] if match[2] == "." else text


def _level(value: Any) -> Any:
    """Return a level of MATH, which some copies call `Level 3`."""
    level = str(value).strip().lower().removeprefix("level").strip().removesuffix(".0")
    if level not in LEVELS:
        raise FormatError(f"level must be one of {', '.join(LEVELS)}, not {value!r:.100}")
    return value if str(value) == level else level
