"""Passes the rows of a local copy through `datasets` unchanged, as JSON with their places.

With a column for each key, a number in one row would change the type of the texts in the others,
and a line that cannot be read would end the whole file.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Features, Value

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.formats import Format
from rlkd_plugin.rlkd_data.rows.row_fields import number_text
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows
from rlkd_plugin.rlkd_files import json_line

PLACE, ROW, REJECTED = "rlkd_place", "rlkd_row", "rlkd_rejected"
FEATURES = Features({name: Value("string") for name in (PLACE, ROW, REJECTED)})
"""The columns: `file:line` of a row, the row as JSON, and the reason if it cannot be read."""


def encode_rows(
    files: tuple[tuple[str, int, int], ...], form: Format, version: str
) -> Iterator[dict[str, str]]:
    """Yield the rows of files in these columns.

    The name of the cache depends on all arguments.

    Args:
        files: path, size and time of change of each.
        form: the format of the rows.
        version: the plugin's; another one may read more of a file.

    Raises:
        RlkdError: where the rest of a file cannot be read.
    """
    paths = [Path(path) for path, *_ in files]
    for place, row in raw_rows(paths, form.columns, form.key):
        if isinstance(row, FormatError):
            yield {PLACE: place, ROW: "", REJECTED: str(row)}
        else:
            text = json.dumps(row, default=_encode_value)
            yield {PLACE: place, ROW: text, REJECTED: ""}


def key_text(name: str) -> str:
    """Return a text that the JSON of a row contains exactly if the row has a column."""
    return f"{json.dumps(name)}: "  # in a text its quotes are escaped


def _encode_value(value: Any) -> Any:
    """Return a value that JSON cannot hold in a form that it can.

    A decimal number becomes a text; bytes or a date become a list, so that they are still no text.
    """
    return number_text(value) or [repr(value)]


def decode_row(encoded: dict[str, str]) -> Row:
    """Return the row of one value of each of these columns.

    Raises:
        FormatError: if it could not be read, or has a value that no file can hold.
    """
    if encoded[REJECTED]:
        raise FormatError(encoded[REJECTED])
    row = json.loads(encoded[ROW])
    json_line(row)
    return row
