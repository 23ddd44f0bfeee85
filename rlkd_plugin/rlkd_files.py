"""Files that a kill leaves whole: replaced at once, appended by lines, written by one process.

The one place for atomic writes, half lines, locks and JSON lines. What a line means is its
reader's business.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rlkd_plugin.gsrm import FormatError, RlkdError

BLOCK = 1 << 16
"""Bytes read at once in the search for the end of the last whole line."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def follow_link(file: Path) -> Path:
    """Return the file that a symbolic link names, which may not be there yet; else the file.

    Raises:
        RlkdError: if links name each other in a circle.
    """
    if not file.is_symlink():
        return file
    real = Path(os.path.realpath(file))
    if real.is_symlink():
        raise RlkdError(f"{file} is a link that leads to itself; name another file")
    return real


def add_ending(file: Path, ending: str) -> Path:
    """Return the place of a file whose name goes on with an ending."""
    return file.with_name(file.name + ending)


def check_place(file: Path) -> None:
    """Check that a file can be at a place: it has a name and a folder, and nothing else is there.

    Raises:
        RlkdError: if not.
    """
    if not file.name:
        raise RlkdError(f"{str(file)!r} is no file to write")
    if not file.parent.is_dir():
        raise RlkdError(f"there is no folder {file.parent} for {file.name}; make it first")
    if not (real := follow_link(file)).parent.is_dir():
        raise RlkdError(f"{file} links to {real}, whose folder is not there; make it first")
    if file.exists() and not file.is_file():
        raise RlkdError(f"{file} is a folder or a device; name the file to write")


@contextmanager
def open_whole(file: Path) -> Iterator[BinaryIO]:
    """Open a file to replace: a reader sees the old content or all that the body writes.

    This holds on network file systems too. What a link names is replaced, not the link.

    Raises:
        OSError: if it cannot be written; then, as after any error of the body, the old content
            stays, and nothing is left beside it.
    """
    file = follow_link(file)
    part = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        with part.open("wb") as content:
            yield content
        publish(part, file)
    finally:
        with suppress(OSError):  # it has its new name, or could not even be created
            part.unlink()


def write_whole(file: Path, content: str | bytes) -> None:
    """Replace a file's content at once, as `open_whole` does.

    Raises:
        OSError: if it cannot be written.
    """
    with open_whole(file) as whole:
        whole.write(content.encode() if isinstance(content, str) else content)


def publish(part: Path, file: Path) -> None:
    """Rename a complete file to the name under which it is read; both on one file system.

    What a link names is replaced, not the link.
    """
    os.replace(part, follow_link(file))


@contextmanager
def claim(file: Path, out: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to read and append, unbuffered, for this process alone; create it if absent.

    Args:
        file: to open.
        out: what the message calls it; `file` itself by default.

    Raises:
        RlkdError: if another process has claimed it, or has published it a moment ago.
    """
    with file.open("ab+", buffering=0) as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(lines.fileno()), file.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise RlkdError(f"another job writes {out or file}; wait for it, or name another file")
        yield lines


def still_there(lines: BinaryIO, file: Path) -> bool:
    """Return whether a path still names an open file, which may be removed, moved or replaced."""
    try:
        return os.path.samestat(os.fstat(lines.fileno()), file.stat())
    except OSError:  # its folder may be gone, too, or closed to us
        return False


def append_all(lines: BinaryIO, content: bytes) -> None:
    """Append to a claimed file: all of the content or, where an error stops it, nothing.

    Raises:
        OSError: if there is no room for it.
    """
    end = lines.seek(0, os.SEEK_END)
    written = 0
    try:
        while written < len(content):  # a disk with little room takes a part first
            written += lines.write(content[written:])
    except OSError:
        lines.truncate(end)
        raise


def half_line_start(lines: BinaryIO) -> int:
    """Return where the last line begins, if it has no end; else the size of the file."""
    keep = lines.seek(0, os.SEEK_END)
    while keep > 0:
        start = max(0, keep - BLOCK)
        lines.seek(start)
        at = lines.read(keep - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        keep = start
    return 0


def cut_half_line(lines: BinaryIO) -> bool:
    """Remove a last line that a kill cut off, and return whether there was one."""
    keep = half_line_start(lines)
    is_cut = keep < lines.seek(0, os.SEEK_END)
    if is_cut:
        lines.truncate(keep)
    return is_cut


def append_lines(file: Path, lines: bytes) -> None:
    """Append whole lines in one write; create the file and its folder if absent.

    A last line that a kill cut off becomes a line of its own, which a reader skips.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as end:
        if end.seek(0, os.SEEK_END):
            end.seek(-1, os.SEEK_END)
            lines = lines if end.read(1) == b"\n" else b"\n" + lines
        end.write(lines)


def json_line(row: Mapping[str, Any], *, escape: bool = False) -> bytes:
    """Return a row as a line of JSON; what JSON does not know, a date for example, as its text.

    Args:
        row: to write.
        escape: write half a surrogate pair, which a model's reply may hold, as its JSON escape.

    Raises:
        FormatError: if a text holds what UTF-8 cannot, and `escape` is not set.
    """
    try:
        return (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        if escape:
            return (json.dumps(row, default=str) + "\n").encode("ascii")
        half = error.object[error.start]
        raise FormatError(f"half a surrogate pair, which no file can hold: {half!a}") from None


def json_object(line: bytes) -> dict[str, Any]:
    """Read a line of JSON.

    Raises:
        FormatError: if it is no JSON object; the message begins with the kind of fault.
    """
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8: byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"broken JSON: {error.msg}, character {error.pos + 1}") from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of 4301 digits
        raise FormatError(f"JSON that Python does not read: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"no JSON object: {value!r:.80}")
    return value


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number, from 1, and without its end.

    Blank lines are skipped, and so is a byte order mark. One line at a time is in memory.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip(b"\r\n")
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line.strip():
                yield number, line


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any] | FormatError]]:
    """Yield the number of each of `numbered_lines` with its object, or with the error in it."""
    for number, line in numbered_lines(file):
        try:
            yield number, json_object(line)
        except FormatError as error:
            yield number, error


def strict_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file that a job of the plugin wrote.

    Raises:
        RlkdError: at a broken line; the message names file and line.
    """
    for number, row in json_lines(file):
        if isinstance(row, FormatError):
            raise RlkdError(f"{file}:{number}: {row}")
        yield row
