"""What readers of row files share: a row, its place, and the fault that ends a file too early."""

from typing import Any

from rlkd_plugin.gsrm import FormatError

Row = dict[str, Any]
"""A row of a data set: the values of its columns."""
PlacedRow = tuple[str, Row | FormatError]
"""`file:line` or `file:row 7`, and the row there, or why there is none."""

MAX_ROW = 1 << 28
"""Bytes of the longest row. Beyond it a quote or a bracket is missing, and memory would fill."""


class UnreadableRestError(Exception):
    """What stands behind the rows that a reader has yielded cannot be read.

    The message ends with what to do. It stays inside this package: `raw_rows` makes an `RlkdError`
    of it that names file and row.
    """


def check_size(size: int) -> None:
    """Refuse to hold more than the longest row in memory.

    Raises:
        UnreadableRestError: if there are more bytes.
    """
    if size > MAX_ROW:
        raise UnreadableRestError(
            f"the next row is over {MAX_ROW >> 20} MiB; a quote is missing, or it holds all rows"
        )
