"""Passes a command's output on as it comes, and looks for one kind of line in it.

The command writes into pipes, one for each place that our own output goes to. A thread copies each
of them, byte by byte and at once, so a reader that is slow slows the command as it would without
us. A line is looked at before it is passed on: no reader can hide it.
"""

import os
import re
import select
import threading
from collections.abc import Callable, Iterable

CHUNK = 65536
"""Bytes that are passed on at once, at most."""
LONGEST = 4096
"""Bytes of a line that are kept until its end has come; a progress bar may be one endless line."""


class Relay:
    """The output of one command, on its way to ours.

    Attributes:
        found: the first whole line with what is wanted; an empty text until it comes.

    Args:
        wanted: what a line is searched for.
    """

    def __init__(self, wanted: re.Pattern[bytes]) -> None:
        self._wanted = wanted
        self.found = ""
        # one pipe where both go to one place, so that their order stays
        targets = [1] if os.path.sameopenfile(1, 2) else [1, 2]
        self._pipes = [(os.pipe(), target) for target in targets]
        self._threads: list[threading.Thread] = []

    def file_actions(self) -> list[tuple[int, int, int]]:
        """Return what `os.posix_spawn` has to do for the command to write into our pipes."""
        ends = [written for (_, written), _ in self._pipes]
        return [(os.POSIX_SPAWN_DUP2, ends[0], 1), (os.POSIX_SPAWN_DUP2, ends[-1], 2)]

    def start(self) -> None:
        """Begin to pass on, when the command has its ends of the pipes."""
        for (source, written), target in self._pipes:
            os.close(written)
            thread = threading.Thread(target=self._pass_on, args=(source, target), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self, goes_on: Callable[[], bool]) -> None:
        """Wait until all is passed on, when nobody writes any more.

        Args:
            goes_on: asked a few times a second whether to wait for a reader that does not read.
        """
        for thread in self._threads:
            while thread.is_alive() and goes_on():
                thread.join(0.1)

    def _pass_on(self, source: int, target: int) -> None:
        line = b""
        try:
            while chunk := os.read(source, CHUNK):
                *whole, line = re.split(rb"[\r\n]", line + chunk)
                line = line[-LONGEST:]
                self._look_at(whole)
                _write(target, chunk)
            self._look_at([line])
        except OSError:  # who read our output is gone: the command learns it from its pipe
            pass
        finally:
            os.close(source)

    def _look_at(self, lines: Iterable[bytes]) -> None:
        for line in filter(self._wanted.search, lines):
            self.found = self.found or line.decode(errors="replace").strip()


def _write(target: int, data: bytes) -> None:
    """Write all bytes, also where somebody has made the place a non-blocking one."""
    left = memoryview(data)
    while left:
        select.select([], [target], [])
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            continue
