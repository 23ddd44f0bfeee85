"""Detects the kind of a row file: by its first bytes, and for tables by its name."""

import enum
import json
import re
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.csv_rows import Table, separator
from rlkd_plugin.rlkd_data.rows.foreign_files import (
    explain,
    foreign,
    in_another_encoding,
    with_zeros,
)
from rlkd_plugin.rlkd_data.rows.packed_files import READ_ERRORS, SUFFIXES, open_content
from rlkd_plugin.rlkd_data.rows.parquet_rows import is_parquet, open_parquet
from rlkd_plugin.rlkd_data.rows.row_types import MAX_ROW, UnreadableRestError
from rlkd_plugin.rlkd_files import BYTE_ORDER_MARK, json_object

HEAD = 1 << 16
"""Number of first bytes that decide a file's kind; JSON lines have an object within them."""

LITERAL = 8
"""Maximum characters of a JSON literal or escape that the end of the head may cut."""

_ARRAY = re.compile(rb"\[\s*(?:\{|\]\s*\Z|\Z)")


class Kind(enum.Enum):
    """How the rows of a file are written."""

    LINES = "a JSON object a line"
    ARRAY = "a JSON array of objects"
    TABLE = "CSV or TSV"
    PARQUET = "Parquet"


@dataclass(frozen=True)
class _Head:
    """The first bytes of what a file holds.

    Attributes:
        content: without a byte order mark.
        whole: whether these are all bytes.
        fault: why the rest of the file cannot be read.
    """

    content: bytes
    whole: bool
    fault: str = ""

    @property
    def lines(self) -> list[bytes]:
        """The whole lines, without blank ones."""
        lines = self.content.split(b"\n")
        return [line for line in (lines if self.whole else lines[:-1]) if line.strip()]

    @property
    def half_line(self) -> bytes:
        """The beginning of a line that continues after the head."""
        return b"" if self.whole else self.content.rpartition(b"\n")[2]

    @property
    def half_line_may_be_object(self) -> bool:
        """Whether this line may be an object; after other lines an indented one is not a row."""
        line = self.half_line if self.lines else self.half_line.lstrip()
        return line.startswith(b"{")


def kind_of(file: Path) -> Kind:
    """Return how the rows of a file are written; an empty file counts as JSON lines.

    Raises:
        RlkdError: if the file is of another format, or its beginning is broken.
    """
    if is_parquet(file):
        with open_parquet(file):
            return Kind.PARQUET
    head = _read_head(file)
    if head.fault and not head.content.strip():
        raise RlkdError(f"{file} cannot be read after row 0: {head.fault}; fetch it again")
    if what := foreign(head.content):
        raise RlkdError(f"{file} {what}")
    text = head.content.lstrip()
    if _ARRAY.match(text):
        return Kind.ARRAY
    # a line in a cell may be an object; JSON lines with a table's suffix begin with one
    if separator(file) is not None and not _begins_with_object(head):
        _check_table(file, head)
        return Kind.TABLE
    if not text:
        _check_empty(file)
        return Kind.LINES
    if what := _other_json(head):
        raise RlkdError(f"{file} is {what}, not rows; write one object a line, or an array of them")
    if not _has_object(head) and not head.half_line_may_be_object:
        raise RlkdError(f"{file} {explain(head.content, head.lines or [head.half_line])}")
    return Kind.LINES


def other_json(file: Path) -> str | None:
    """Return what JSON a file without rows holds, such as metadata; None for other files."""
    if is_parquet(file):
        return None
    head = _read_head(file)
    if what := _other_json(head):
        return what
    text = head.content.lstrip()
    return "one JSON object" if text.startswith(b"{") and _is_one_line(file) else None


def _read_head(file: Path) -> _Head:
    content, fault = b"", ""
    try:
        with open_content(file) as stream:
            while len(content) < HEAD and (block := stream.read1(HEAD - len(content))):
                content += block
    except READ_ERRORS as error:
        fault = str(error)
    whole = len(content) < HEAD and not fault
    return _Head(content.removeprefix(BYTE_ORDER_MARK), whole, fault)


def _has_object(head: _Head) -> bool:
    return any(map(_is_object, head.lines))


def _begins_with_object(head: _Head) -> bool:
    return any(map(_is_object, head.lines[:1])) or (not head.lines and head.half_line_may_be_object)


def _is_object(line: bytes) -> bool:
    try:
        json_object(line)
    except FormatError:
        return False
    return True


def _other_json(head: _Head) -> str | None:
    """Return what JSON a text without rows holds; None for other texts."""
    text = head.content.decode("utf-8", "replace").strip()
    if text.startswith("[") and not _ARRAY.match(text.encode()) and not _has_object(head):
        return "a JSON array whose first element is not an object" if _ends_at(text) else None
    if text.startswith("{") and not _begins_with_object(head):
        return "one JSON object over several lines" if "\n" in text[: _ends_at(text)] else None
    return None


def _ends_at(text: str) -> int:
    """Return where the first JSON value of a text ends; 0 if it is broken."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except json.JSONDecodeError as error:
        is_cut = error.msg.startswith("Unterminated") or error.pos >= len(text) - LITERAL
        return len(text) if is_cut else 0
    except (RecursionError, ValueError):  # nested too deep; a number of 4301 digits
        return 0


def _is_one_line(file: Path) -> bool:
    """Return whether a file is one JSON object in one line."""
    found = False
    try:
        with open_content(file) as content:
            while line := content.readline(MAX_ROW):
                if line.strip():
                    if found or not _is_object(line.removeprefix(BYTE_ORDER_MARK)):
                        return False
                    found = True
    except READ_ERRORS:
        return False
    return found


def _check_empty(file: Path) -> None:
    """Reject an empty file whose format, by its name, is never empty."""
    if not file.stat().st_size and file.name.lower().endswith((".parquet", *SUFFIXES)):
        raise RlkdError(f"{file} is empty, but a {file.suffix} file never is; fetch it again")


def _check_table(file: Path, head: _Head) -> None:
    """Reject a table whose encoding or header is wrong."""
    if what := with_zeros(head.content) or in_another_encoding(head.lines):
        raise RlkdError(f"{file} {what}")
    read_names(file)


def read_names(file: Path) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        RlkdError: if they cannot be read.
    """
    mark = separator(file)
    assert mark is not None
    try:
        with open_content(file) as content:
            return Table(file, content, mark).names
    except UnreadableRestError as error:
        raise RlkdError(f"{file} has an unreadable header: {error}") from None
    except READ_ERRORS as error:
        raise RlkdError(f"{file} cannot be read after row 0: {error}; fetch it again") from None
