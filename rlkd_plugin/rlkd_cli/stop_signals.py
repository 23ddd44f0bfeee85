"""Stops a command: SIGTERM ends it in order as Ctrl-C does, with its own exit code.

The first signal lets a job finish what it has begun and print its progress. A second one ends the
process at once. So does one that comes before the command has begun or while a module is imported:
there a KeyboardInterrupt could be lost, or leave half a module. No file is damaged: jobs survive a
kill.

All this is for a process that runs only the command. A program that calls a command from Python
keeps its own signal handlers.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPORTING = "<frozen importlib._bootstrap>"
SHOW_CURSOR = b"\x1b[?25h"
"""Makes a terminal show its cursor again, which a progress bar hides."""


class _Stop:
    """The stop signal of this process.

    Attributes:
        number: the signal that stops the command; 0 before.
        process: the process that handles signals; its forks do not.
        has_begun: whether there is work to end in order.
        cancel: cancels the work of the event loop, while there is one.
    """

    def __init__(self) -> None:
        self.number = 0
        self.process = os.getpid()
        self.has_begun = False
        self.cancel: Callable[[], object] | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """End the command, in order or at once."""
        if os.getpid() != self.process:
            os._exit(128 + number)  # the parent prints the output that a fork has buffered
        if self.number or not self.has_begun or _is_importing(frame):
            exit_at_once(128 + number)
        self.number = number
        if self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


_stop = _Stop()


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end this process silently while the body runs."""
    before = _receive_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(command: Callable[[], object]) -> None:
    """Run a command as the only work of this process.

    A signal ends the body of `orderly_stop` in order, and all other code at once.

    Raises:
        BaseException: what the command raised, if no signal stopped it. If one did, the process
            ends here: threads that still wait for a server would keep it for as long.
    """
    sys.unraisablehook = _end_on_lost_interrupt
    ours = _receive_signals()
    atexit.register(_ignore, ours)
    try:
        command()
    except SystemExit as end:
        if _stop.number:
            exit_at_once(end.code if isinstance(end.code, int) else exit_code())
        raise
    except BaseException:
        if _stop.number:  # a library may have turned the interrupt into this error
            exit_at_once(exit_code())
        raise


@contextmanager
def orderly_stop() -> Iterator[None]:
    """Let the first signal end the body by a KeyboardInterrupt."""
    _stop.number, _stop.has_begun = 0, True
    try:
        yield
    finally:
        _stop.has_begun = False


def exit_code() -> int:
    """Return the exit code of a command that was stopped: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (_stop.number or signal.SIGINT)


def run_stoppable(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine as `asyncio.run` does; the first signal cancels it.

    Raises:
        KeyboardInterrupt: if a signal came, once all its tasks have ended.
    """
    import asyncio

    async def cancellable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        _stop.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            if _stop.number:
                raise asyncio.CancelledError
            return await work
        finally:
            _stop.cancel = _defer

    _stop.cancel = _defer  # an interrupt would break the opening or closing of the loop
    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if _stop.number:
            raise KeyboardInterrupt from None
        raise
    finally:
        _stop.cancel = None
        work.close()
    if _stop.number:
        raise KeyboardInterrupt  # it came at the end; the next work must not begin
    return result


def exit_at_once(code: int) -> None:
    """End this process, whatever it does, after flushing its output."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or in use
            stream.flush()
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os._exit(code)


def _receive_signals() -> dict[int, Any]:
    """Receive the signals, and return the handlers that they had.

    A signal that is ignored, as in the background of a shell, or has another handler stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    _stop.process = os.getpid()
    plain = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number in SIGNALS if signal.getsignal(number) in plain]
    return {number: signal.signal(number, _stop.receive) for number in ours}


def _ignore(numbers: Iterable[int]) -> None:
    """Ignore signals while Python shuts down, so that they do not change the exit code."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _defer() -> None:
    """Do nothing about a signal: the code that opens or closes the event loop checks for it."""


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


def _end_on_lost_interrupt(unraisable: Any) -> None:
    """End at once on an interrupt that came in a finalizer, where nothing can catch it."""
    if unraisable.exc_type is KeyboardInterrupt:
        exit_at_once(exit_code())
    sys.__unraisablehook__(unraisable)
