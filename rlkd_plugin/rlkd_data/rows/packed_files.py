"""Reads plain files, and files compressed by gzip or Zstandard.

The first bytes decide, not the name. Several members or frames in one file are one content. A file
that ends too early raises: Arrow's Zstandard stream does so, python-zstandard's does not.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"
"""After a byte from 0x50 to 0x5f: a frame without content, with which pzstd begins its files."""
SUFFIXES = (".gz", ".zst", ".zstd")

READ_BUFFER = 1 << 16
"""Bytes decompressed at once; of a file that ends too early, at most the last of these are lost."""

READ_ERRORS = (OSError, EOFError, zlib.error)
"""Errors of an unreadable file; gzip's own error and Arrow's are an OSError."""


class Content(Protocol):
    """The content of a file, decompressed, read once from its beginning.

    Its methods return everything before a fault, then raise one of `READ_ERRORS`.
    """

    def readline(self, size: int, /) -> bytes:
        """Return a line with its end, or its first bytes if it is longer; nothing at the end."""
        ...

    def read1(self, size: int, /) -> bytes:
        """Return at most `size` bytes; nothing at the end."""
        ...


@contextmanager
def open_content(file: Path) -> Iterator[Content]:
    """Open the content of a file.

    Raises:
        OSError, EOFError, zlib.error: `READ_ERRORS`.
    """
    with file.open("rb") as packed:
        first = packed.read(4)
        packed.seek(0)
        if first.startswith(GZIP):
            with gzip.GzipFile(fileobj=packed, mode="rb") as content:
                yield content
        elif _is_zstd(first):
            import pyarrow

            # a stream of Arrow is a raw stream to Python's readers
            with pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, "r"), "zstd") as stream:
                yield io.BufferedReader(cast(io.RawIOBase, stream), READ_BUFFER)
        else:
            yield packed


def is_packed(file: Path) -> bool:
    """Return whether a file is compressed by gzip or Zstandard."""
    with file.open("rb") as packed:
        first = packed.read(4)
    return first.startswith(GZIP) or _is_zstd(first)


def plain_name(name: str) -> str:
    """Return a file's name in small letters, without the suffix of its compression."""
    name = name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _is_zstd(first: bytes) -> bool:
    skippable = first[1:] == SKIPPABLE and first[0] & 0xF0 == 0x50
    return first == ZSTD or skippable
