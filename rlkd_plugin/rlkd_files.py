"""File access that survives a kill: atomic replacement, whole lines, one writer a file.

All atomic writes, half lines, locks and JSON lines are handled here. Not here: what a line means.
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
"""Bytes read at once while searching for the end of the last whole line."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def follow_link(file: Path) -> Path:
    """Return the target of a symbolic link, which may not exist yet; any other file as it is.

    Raises:
        RlkdError: if the links form a loop.
    """
    if not file.is_symlink():
        return file
    real = Path(os.path.realpath(file))
    if real.is_symlink():
        raise RlkdError(f"{file} is a symbolic link that leads to itself; name another file")
    return real


def add_ending(file: Path, ending: str) -> Path:
    """Return the path of a file with an ending added to its name."""
    return file.with_name(file.name + ending)


def check_place(file: Path) -> None:
    """Check that a path can be written as a file: its folder exists, and it is no folder or device.

    Raises:
        RlkdError: if not.
    """
    if not file.name:
        raise RlkdError(f"{str(file)!r} is not the name of a file; name the file to write")
    if not file.parent.is_dir():
        raise RlkdError(f"there is no folder {file.parent} for {file.name}; create it first")
    if not (real := follow_link(file)).parent.is_dir():
        raise RlkdError(f"{file} links to {real}, whose folder does not exist; create it first")
    if file.exists() and not file.is_file():
        raise RlkdError(f"{file} is a folder or a device; name the file to write")


@contextmanager
def open_whole(file: Path) -> Iterator[BinaryIO]:
    """Replace a file atomically: a reader sees the old content or all that the body writes.

    This holds on network file systems too. The target of a link is replaced, not the link.

    Raises:
        OSError: if it cannot be written. After this or any error of the body the old content
            stays, and no temporary file is left.
    """
    file = follow_link(file)
    part = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        with part.open("wb") as content:
            yield content
        publish(part, file)
    finally:
        with suppress(OSError):  # it was renamed, or never created
            part.unlink()


def write_whole(file: Path, content: str | bytes) -> None:
    """Replace a file's content atomically, as `open_whole` does.

    Raises:
        OSError: if it cannot be written.
    """
    with open_whole(file) as whole:
        whole.write(content.encode() if isinstance(content, str) else content)


def publish(part: Path, file: Path) -> None:
    """Rename a complete file to its final name, on the same file system.

    The target of a link is replaced, not the link.
    """
    os.replace(part, follow_link(file))


@contextmanager
def claim(file: Path, out: Path | None = None) -> Iterator[BinaryIO]:
    """Lock a file for this process, and open it to read and append, unbuffered.

    Args:
        file: to open; created if absent.
        out: the name in the error message; `file` by default.

    Raises:
        RlkdError: if another process has locked it, or has just renamed it.
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
    """Return whether a path still names this open file, and not a replacement or nothing."""
    try:
        return os.path.samestat(os.fstat(lines.fileno()), file.stat())
    except OSError:  # its folder may be gone too, or unreadable
        return False


def append_all(lines: BinaryIO, content: bytes) -> None:
    """Append to a locked file: all of the content, or nothing if an error occurs.

    Raises:
        OSError: if the disk is full.
    """
    end = lines.seek(0, os.SEEK_END)
    written = 0
    try:
        while written < len(content):  # a nearly full disk writes a part first
            written += lines.write(content[written:])
    except OSError:
        lines.truncate(end)
        raise


def half_line_start(lines: BinaryIO) -> int:
    """Return where an unfinished last line begins; without one, the size of the file."""
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
    """Remove a half line at the end of a file, and return whether there was one."""
    keep = half_line_start(lines)
    is_cut = keep < lines.seek(0, os.SEEK_END)
    if is_cut:
        lines.truncate(keep)
    return is_cut


def append_lines(file: Path, lines: bytes) -> None:
    """Append whole lines in one write; create the file and its folder if absent.

    A half line before them stays a line of its own, which readers skip.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as end:
        if end.seek(0, os.SEEK_END):
            end.seek(-1, os.SEEK_END)
            lines = lines if end.read(1) == b"\n" else b"\n" + lines
        end.write(lines)


def json_line(row: Mapping[str, Any], *, escape: bool = False) -> bytes:
    """Return a row as a line of JSON; values of other types, such as dates, become text.

    Args:
        row: to write.
        escape: write a lone surrogate, which a model's reply may hold, as a JSON escape.

    Raises:
        FormatError: if a text has a lone surrogate and `escape` is not set.
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
        FormatError: if it is no JSON object; the message begins with the kind of error.
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
    """Yield each line with its number, from 1, without the line end.

    Blank lines and a byte order mark are skipped. Only one line is in memory at a time.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip(b"\r\n")
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line.strip():
                yield number, line


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any] | FormatError]]:
    """Yield the number of each of `numbered_lines` with its object, or with its error."""
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
