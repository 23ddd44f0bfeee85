"""Types that readers of row files share: a row, its place, and a fault that ends reading."""

from typing import Any

from rlkd_plugin.gsrm import FormatError

Row = dict[str, Any]
"""A row of a data set: the values of its columns."""
PlacedRow = tuple[str, Row | FormatError]
"""`file:line` or `file:row 7`, and the row there, or why there is none."""

MAX_ROW = 1 << 28
"""Maximum bytes of a row. Beyond it a quote or a bracket is missing, and memory would fill."""


class UnreadableRestError(Exception):
    """The rest of a file, after the rows that a reader has yielded, cannot be read.

    The message ends with the remedy. It stays inside this package: `raw_rows` raises an `RlkdError`
    from it that names file and row.
    """


def check_size(size: int) -> None:
    """Raise before more than the longest row is held in memory.

    Raises:
        UnreadableRestError: if there are more bytes.
    """
    if size > MAX_ROW:
        raise UnreadableRestError(
            f"the next row is over {MAX_ROW >> 20} MiB; a quote is missing, or it holds all rows"
        )
