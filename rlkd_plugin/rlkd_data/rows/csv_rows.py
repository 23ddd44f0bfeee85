"""Rows of CSV and TSV: a header, then rows with a text for each column.

Quotes are read strictly. After a wrong one, the next lines could be read as rows that nobody wrote,
so reading ends there.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.packed_files import Content, plain_name
from rlkd_plugin.rlkd_data.rows.row_types import MAX_ROW, Row, UnreadableRestError, check_size
from rlkd_plugin.rlkd_files import BYTE_ORDER_MARK

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Cell separators by the suffix of the file; the content alone does not show it reliably."""
MAX_CELL = 1 << 26
"""Maximum characters of a cell; Python's reader holds four bytes for each."""

_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_SUFFIX = {mark: suffix for suffix, mark in SEPARATORS.items()}


def separator(file: Path) -> str | None:
    """Return a file's cell separator, or None if its suffix is not a table's."""
    name = plain_name(file.name)
    return next((mark for suffix, mark in SEPARATORS.items() if name.endswith(suffix)), None)


class Table:
    """The rows of a file, read once."""

    def __init__(self, file: Path, content: Content, mark: str) -> None:
        """Read the header.

        Raises:
            RlkdError: if the names of the columns cannot be read.
            UnreadableRestError: as `rows`.
        """
        csv.field_size_limit(MAX_CELL)  # 128 KB by default, and a reasoning path may be longer
        self.names: list[str] = []
        self._fault: FormatError | None = None
        self._cells = csv.reader(self._lines(content), delimiter=mark, strict=True)
        header = next(self._numbered_cells(), None)
        if header is None:
            raise RlkdError(f"{file} is empty; the first row must have the names of the columns")
        _, cells = header
        if isinstance(cells, FormatError):
            raise RlkdError(f"{file} has a header in another encoding ({cells}); save it as UTF-8")
        self.names = [name.strip() for name in cells]
        _check_names(file, self.names, mark)

    def rows(self) -> Iterator[tuple[int, Row | FormatError]]:
        """Yield the number of each row's first line, and the row; blank lines are skipped.

        Raises:
            UnreadableRestError: at a wrong quote, or a row that is too long.
        """
        for line, cells in self._numbered_cells():
            if isinstance(cells, FormatError):
                yield line, cells
            elif len(cells) != len(self.names):
                fault = "another number of cells than the header has"
                yield line, FormatError(f"{fault}: {len(cells)}, not {len(self.names)}")
            else:
                yield line, dict(zip(self.names, cells, strict=True))

    def _numbered_cells(self) -> Iterator[tuple[int, list[str] | FormatError]]:
        while True:
            before = self._cells.line_num
            self._fault = None
            try:
                cells = next(self._cells, None)
            except csv.Error as error:
                raise UnreadableRestError(f"line {before + 1}: {_explain(error)}") from None
            if cells is None:
                return
            if len(cells) > 1 or any(map(str.strip, cells)) or (cells and len(self.names) == 1):
                yield before + 1, self._fault or cells

    def _lines(self, content: Content) -> Iterator[str]:
        """Yield the lines as texts, and note the fault of one that is not UTF-8."""
        mark = BYTE_ORDER_MARK
        while line := content.readline(MAX_ROW + 1):
            check_size(len(line))
            line, mark = line.removeprefix(mark), b""
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                self._fault = FormatError(f"not UTF-8: byte {error.start + 1} of the line")
                yield line.decode("utf-8", "replace")


def _check_names(file: Path, names: list[str], mark: str) -> None:
    others = [other for other in _NAMES if other != mark and other in names[0]]
    if len(names) == 1 and others:
        suffix = _SUFFIX.get(others[0])
        remedy = f"name it {suffix}" if suffix else f"save it with {_NAMES[mark]}"
        raise RlkdError(
            f"{file} has one column, {names[0]!r:.100}; if {_NAMES[others[0]]} separate its "
            f"cells, {remedy}"
        )
    if twice := sorted({name or "(no name)" for name in names if names.count(name) > 1}):
        raise RlkdError(f"{file} has columns of the same name: {', '.join(twice)}; rename them")


def _explain(error: csv.Error) -> str:
    """Return an error of the csv module in plain words, with a remedy."""
    words = str(error)
    if "end of data" in words:
        return "a quoted cell does not end; fetch the file again"
    if "expected after" in words:
        return "text follows a quoted cell; write a quote inside a cell twice"
    if "field limit" in words:
        return f"a cell is over {MAX_CELL >> 20} MiB; a quote is missing"
    if "new-line character" in words:
        return "it ends with a carriage return alone; save the file with line feeds"
    return words
