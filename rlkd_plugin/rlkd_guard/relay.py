"""Forwards a command's output, and searches it for one kind of line.

The command writes into pipes, one for each target of our own output. A thread copies each pipe
without delay, so that a slow reader slows the command as it would without us. A line is searched
before it is forwarded, so a reader that stops reading cannot hide it.
"""

import os
import re
import select
import threading
from collections.abc import Callable, Iterable

CHUNK = 65536
"""Most bytes that are forwarded at once."""
LONGEST = 4096
"""Bytes kept of a line until it ends; a progress bar may be one endless line."""


class Relay:
    """Forwards the output of one command to ours.

    Attributes:
        found: the first line that matches; empty until it arrives.

    Args:
        wanted: the pattern of the line.
    """

    def __init__(self, wanted: re.Pattern[bytes]) -> None:
        self._wanted = wanted
        self.found = ""
        # one pipe if both have the same target, which preserves their order
        targets = [1] if os.path.sameopenfile(1, 2) else [1, 2]
        self._pipes = [(os.pipe(), target) for target in targets]
        self._threads: list[threading.Thread] = []

    def file_actions(self) -> list[tuple[int, int, int]]:
        """Return the actions of `os.posix_spawn` that connect the command to our pipes."""
        ends = [written for (_, written), _ in self._pipes]
        return [(os.POSIX_SPAWN_DUP2, ends[0], 1), (os.POSIX_SPAWN_DUP2, ends[-1], 2)]

    def start(self) -> None:
        """Start to forward, once the command has its ends of the pipes."""
        for (source, written), target in self._pipes:
            os.close(written)
            thread = threading.Thread(target=self._forward, args=(source, target), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self, waits: Callable[[], bool]) -> None:
        """Wait until everything is forwarded, after the last writer has ended.

        Args:
            waits: called a few times a second; whether to wait for a reader that does not read.
        """
        for thread in self._threads:
            while thread.is_alive() and waits():
                thread.join(0.1)

    def _forward(self, source: int, target: int) -> None:
        line = b""
        try:
            while chunk := os.read(source, CHUNK):
                *whole, line = re.split(rb"[\r\n]", line + chunk)
                line = line[-LONGEST:]
                self._search(whole)
                _write(target, chunk)
            self._search([line])
        except OSError:  # our reader has ended; the command gets the error from its pipe
            pass
        finally:
            os.close(source)

    def _search(self, lines: Iterable[bytes]) -> None:
        for line in filter(self._wanted.search, lines):
            self.found = self.found or line.decode(errors="replace").strip()


def _write(target: int, data: bytes) -> None:
    """Write all bytes, also to a target that another process made non-blocking."""
    left = memoryview(data)
    while left:
        select.select([], [target], [])
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            continue
