"""Detects files of formats that are not read here, by their first bytes.

The user gets one sentence with the remedy, not a fault for each line.
"""

import csv
import re
from collections.abc import Sequence

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.csv_rows import SEPARATORS
from rlkd_plugin.rlkd_files import json_object

READ = "rows are read from JSON lines, a JSON array, CSV, TSV and Parquet"

_UNPACK = "unpack it first"
_AGAIN = "fetch the file itself"
_CONVERT = "save it as UTF-8"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a compressed Parquet file", _UNPACK),
    (b"\x1f\x8b", "compressed twice", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed twice", _UNPACK),
    (b"PK\x03\x04", "a zip archive or an .xlsx table", "unpack it, or save the table as CSV"),
    (b"PK\x05\x06", "an empty zip archive", _AGAIN),
    (b"\xd0\xcf\x11\xe0", "an .xls table", "save it as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (b"\x04\x22\x4d\x18", "compressed by lz4", _UNPACK),
    (b"\x1f\x9d", "compressed by compress", _UNPACK),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "save it as Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "write its table as CSV"),
    (b"\x93NUMPY", "a NumPy array", READ),
    (b"\x89HDF", "an HDF5 file", READ),
    (b"Obj\x01", "an Avro file", READ),
    (b"%PDF-", "a PDF document", READ),
    (b"\xff\xfe", "text in UTF-16 or UTF-32", _CONVERT),
    (b"\xfe\xff", "text in UTF-16", _CONVERT),
    (b"\0\0\xfe\xff", "text in UTF-32", _CONVERT),
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer", "run `git lfs pull`"),
    (b"/annex/objects/", "a pointer of git-annex", "run `git annex get`"),
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(rb"\s*<\?xml")
_TAR = 257
"""Offset of the magic bytes of a tar archive."""


def foreign(head: bytes) -> str | None:
    """Return the format of a file and a remedy, if its first bytes are of another format."""
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            return f"is {what}; {remedy}"
    if _BZIP2.match(head):
        return f"is compressed by bzip2; {_UNPACK}"
    if _PICKLE.match(head):
        return "is a pickle, which may run code when it is read; save its rows as JSON lines"
    if head[_TAR : _TAR + 5] == b"ustar":
        return f"is a tar archive; {_UNPACK}"
    if _HTML.match(head):
        return f"is an HTML page, which a server sent instead of the file; {_AGAIN}"
    if _XML.match(head):
        return f"is XML; {READ}"
    return None


def with_zeros(head: bytes) -> str | None:
    """Return what a file is and a remedy, if its first bytes hold zeros."""
    if b"\0" not in head:
        return None
    if not any(head):
        return f"is filled with zeros; {_AGAIN}"
    if not any(head[1:64:2]) or not any(head[0:64:2]):
        return f"is text in UTF-16; {_CONVERT}"
    return f"is a binary file; {READ}"


def in_another_encoding(lines: Sequence[bytes]) -> str | None:
    """Return what a text is and a remedy, if none of its lines beyond ASCII is UTF-8."""
    fault = None
    for line in lines:
        if not line.isascii():
            try:
                line.decode("utf-8")
                return None
            except UnicodeDecodeError as error:
                fault = fault or f"byte {error.start + 1} of a line is {line[error.start]:#x}"
    return fault and f"is not text in UTF-8 ({fault}); {_CONVERT}"


def explain(head: bytes, lines: Sequence[bytes]) -> str:
    """Return what a text without a JSON object in its first lines is, and a remedy.

    Args:
        head: the file's first bytes.
        lines: the lines in them, without blank ones.
    """
    if what := with_zeros(head) or in_another_encoding(lines):
        return what
    try:
        json_object(lines[0])
        fault = "cut off"
    except FormatError as error:
        fault = str(error)
    if suffix := _table_suffix(lines):
        return f"has no JSON object in its first lines and looks like a table; name it {suffix}"
    first = lines[0][:60].decode("utf-8", "replace")
    return f"has no JSON object in its first lines; the first is {first!r} ({fault}); {READ}"


def _table_suffix(lines: Sequence[bytes]) -> str | None:
    """Return the suffix of a table that these lines may be, if all have as many cells."""
    texts = [line.decode("utf-8", "replace") for line in lines[:20]]
    for suffix, mark in SEPARATORS.items():
        try:
            rows = list(csv.reader(texts, delimiter=mark, strict=True))
        except csv.Error:
            continue
        if len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1:
            return suffix
    return None
