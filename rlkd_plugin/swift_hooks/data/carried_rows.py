"""How the rows of a local copy travel through `datasets` unchanged: as JSON, each with its place.

As columns of their own, a number in one row would change the type of the texts in the others, and
a line that cannot be read would end the whole file.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Features, Value

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.formats import Format
from rlkd_plugin.rlkd_data.rows.row_files import json_line, raw_rows

PLACE, ROW, REFUSED = "rlkd_place", "rlkd_row", "rlkd_refused"
CARRIED = Features({name: Value("string") for name in (PLACE, ROW, REFUSED)})


def carried_rows(files: tuple[tuple[str, int, int], ...], form: Format) -> Iterator[dict[str, str]]:
    """Yield the rows of files, each given with its size and time, which a cache depends on."""
    paths = [Path(path) for path, *_ in files]
    for place, row in raw_rows(paths, form.columns, form.key):
        if isinstance(row, FormatError):
            yield {PLACE: place, ROW: "", REFUSED: str(row)}
        else:
            # what JSON has no form for, a table's bytes or date, is no text and stays none
            text = json.dumps(row, default=lambda value: [repr(value)])
            yield {PLACE: place, ROW: text, REFUSED: ""}


def opened_row(carried: dict[str, str]) -> dict[str, Any]:
    """Return the row that was carried.

    Raises:
        FormatError: if there was none, or if it holds what no file can.
    """
    if carried[REFUSED]:
        raise FormatError(carried[REFUSED])
    row = json.loads(carried[ROW])
    json_line(row)
    return row
