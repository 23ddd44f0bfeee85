"""Rows of JSON text: lines of objects, or one array of them.

A row of an array is read by the same function as a line, so its values are the same. Libraries
that stream JSON change texts: yajl, the parser behind ijson, reads half a surrogate pair as `?`.
So only the ends of rows are found here, by their brackets and quotes.
"""

import re
from collections.abc import Iterator

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.packed_files import Content
from rlkd_plugin.rlkd_data.rows.row_types import MAX_ROW, Row, UnreadableRestError, check_size
from rlkd_plugin.rlkd_files import BYTE_ORDER_MARK, json_object

BLOCK = 1 << 18
"""Bytes of an array read at once."""

_QUOTE, _COMMA, _OPEN, _CLOSE = b'"', b",", b"[{", b"]}"
_BETWEEN_ROWS = re.compile(rb'["\[\]{},]')
_IN_A_ROW = re.compile(rb'["\[\]{}]')


def read_lines(content: Content) -> Iterator[tuple[int, Row | FormatError]]:
    """Yield the number of each line, from 1, with its row; blank lines are skipped.

    Raises:
        UnreadableRestError: at a line that is too long.
    """
    number = 0
    while line := content.readline(MAX_ROW + 1):
        number += 1
        check_size(len(line))
        line = line.rstrip(b"\r\n")
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if line.strip():
            yield number, _row(line)


def count_lines(content: Content) -> Iterator[int]:
    """Yield line counts of a file's parts, blank lines included; their sum is the file's count."""
    last = b"\n"
    while block := content.read1(BLOCK):
        yield block.count(b"\n")
        last = block[-1:]
    yield int(last != b"\n")


def read_array(content: Content) -> Iterator[Row | FormatError]:
    """Yield each element of an array of objects.

    Raises:
        UnreadableRestError: as `split_array`.
    """
    return map(_row, split_array(content))


def split_array(content: Content) -> Iterator[bytes]:
    """Yield the text of each element of the JSON array that a file holds.

    An element may be broken JSON: only brackets and quotes are looked at.

    Raises:
        UnreadableRestError: if the array does not end, something follows it, or an element is too
            long.
    """
    buffer = bytearray()
    while (start := buffer.find(b"[") + 1) == 0:  # where the first element begins
        buffer += _next_block(content)
    at = start  # everything before it is searched
    depth, quoted = 1, False
    found_comma = False
    while True:
        if quoted:
            at = _end_of_text(buffer, at)
            quoted = at < 0
        mark = None if quoted else (_BETWEEN_ROWS if depth == 1 else _IN_A_ROW).search(buffer, at)
        if mark is None:
            at = len(buffer) - start
            del buffer[:start]
            start = 0
            check_size(at)
            buffer += _next_block(content)
            continue
        char, at = mark[0], mark.end()
        if char == _QUOTE:
            quoted = True
        elif char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        if depth == 0 or (depth == 1 and char == _COMMA):
            text = bytes(buffer[start : at - 1]).strip()
            if depth == 1 or text or found_comma:
                yield text
            start, found_comma = at, True
        if depth == 0:
            if char != b"]":
                raise UnreadableRestError("a '}' closes the JSON array; repair it there")
            _check_end(buffer[at:], content)
            return


def _row(text: bytes) -> Row | FormatError:
    try:
        return json_object(text)
    except FormatError as error:
        return error


def _end_of_text(buffer: bytearray, at: int) -> int:
    """Return the place after a text's closing quote, or -1 if it is not yet in the buffer."""
    while (quote := buffer.find(_QUOTE, at)) >= 0:
        before = quote
        while buffer[before - 1] == 0x5C:  # a backslash; an even number of them escapes no quote
            before -= 1
        at = quote + 1
        if (quote - before) % 2 == 0:
            return at
    return -1


def _next_block(content: Content) -> bytes:
    block = content.read1(BLOCK)
    if not block:
        raise UnreadableRestError("the JSON array does not end; fetch it again")
    return block


def _check_end(rest: bytearray, content: Content) -> None:
    """Reject anything but white space after the array."""
    block = bytes(rest)
    while True:
        if text := block.strip():
            raise UnreadableRestError(
                f"the JSON array ends there, and {text[:40].decode('utf-8', 'replace')!r} follows; "
                "write all rows as one array, or one row per line"
            )
        block = content.read1(BLOCK)
        if not block:
            return
