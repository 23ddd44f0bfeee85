"""The lines of a file of scores: trace lines, each with the key of its completion in front.

While a job runs, a line is written when its completion is scored; at the job's end the lines are
sorted in the order of the source. `rlkd report` reads them at any time.
"""

import json
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.result_lines import Shape
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import open_whole

TRACE = "rlkd_trace_rank0.jsonl"
"""Name of the file in OUT: the name of a run's trace, so that a report finds it."""
KEY = "row"
"""The column that identifies a completion."""
SHAPE: Shape = {KEY: str, "problem": str, "completion": str, "teacher": dict, "student": dict}


class _Keyed(msgspec.Struct):
    row: str


_encoder = msgspec.json.Encoder()
_key_of = msgspec.json.Decoder(_Keyed)


def score_line(key: int, trace: TraceRow) -> dict[str, Any]:
    """Return a line as it is written; half a surrogate pair becomes "?", as in any trace."""
    row = msgspec.to_builtins(trace)
    try:
        _encoder.encode(trace)
    except UnicodeEncodeError:
        row = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", errors="replace"))
    return {KEY: f"{key:016x}", **row}


def read_line(file: Path, line: Row) -> tuple[int, TraceRow]:
    """Return the key and the trace of a line.

    Raises:
        RlkdError: if it is not of this job.
    """
    try:
        return int(line[KEY], 16), msgspec.convert(line, TraceRow)
    except (ValueError, msgspec.ValidationError) as error:
        raise RlkdError(
            f"{file} has a line that is not of this job ({error}); name another folder as OUT"
        ) from None


def outdated_lines(lines: Iterable[bytes]) -> set[int] | None:
    """Return the numbers of the lines that a later one of the same completion replaces.

    A line with a rejected text is replaced at the end of the next run. If that run is stopped, the
    file has both the old line and the new one.

    Args:
        lines: of any trace; a broken one replaces nothing.

    Returns:
        The numbers, from 0; None for a trace of another kind, whose first whole line has no key.
    """
    newest: dict[str, int] = {}
    outdated: set[int] = set()
    for number, line in enumerate(lines):
        try:
            key = _key_of.decode(line).row
        except msgspec.ValidationError:
            if not newest:
                return None
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if key in newest:
            outdated.add(newest[key])
        newest[key] = number
    return outdated if newest else None


def sort_lines(file: Path, keys: Sequence[int]) -> int:
    """Sort the lines in the order of `keys`; of several with one key the last is kept.

    Lines with other keys follow, in their own order.

    Args:
        file: whole lines; nothing else writes to it meanwhile.
        keys: of the source's completions.

    Returns:
        The number of lines with other keys.

    Raises:
        RlkdError: if the disk has no room for a second copy of the file.
    """
    places = {key: place for place, key in enumerate(keys)}
    starts = array("Q")
    found: dict[int, int] = {}  # the number of a key's last line
    with file.open("rb") as lines:
        start = 0
        for number, line in enumerate(lines):
            starts.append(start)
            start += len(line)
            found[int(_key_of.decode(line).row, 16)] = number
    others = sum(key not in places for key in found)
    # a sort keeps the order of equals: of the other keys
    order = [found[key] for key in sorted(found, key=lambda key: places.get(key, len(places)))]
    if order == list(range(len(starts))):
        return others
    try:
        with file.open("rb") as lines, open_whole(file) as whole:
            for number in order:
                lines.seek(starts[number])
                whole.write(lines.readline())
    except OSError as error:
        raise RlkdError(
            f"{file} is complete, but could not be sorted in the order of the source: "
            f"{error.strerror}. Free space for a copy of it, then run the same command again"
        ) from None
    return others
