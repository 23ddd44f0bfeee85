"""How a command is stopped: SIGTERM ends it in order as Ctrl-C does, with its own exit code.

The first signal lets a job end what it has begun and say how far it is. It ends at once by a second
one, and by one that comes before the command has begun or while a module is imported: there a
KeyboardInterrupt could be lost, or leave half a module. No file suffers: jobs stand being killed.

All this is for a process that is nothing but the command. Who calls a command from Python keeps
his own signals.
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
"""Tells a terminal to show its cursor again, which a progress bar hides."""


class _Stop:
    """What this process was told.

    Attributes:
        told: the signal that stops the command; 0 before.
        process: the one that is told; its forks are not.
        has_begun: whether there is work to end in order.
        cancel: ends the work of the event loop, while there is one.
    """

    def __init__(self) -> None:
        self.told = 0
        self.process = os.getpid()
        self.has_begun = False
        self.cancel: Callable[[], object] | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """End the command, in order or at once."""
        if os.getpid() != self.process:
            os._exit(128 + number)  # what it has not yet shown, this process shows
        if self.told or not self.has_begun or _imports(frame):
            exit_at_once(128 + number)
        self.told = number
        if self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


_stop = _Stop()


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end this process, without a word, while the body runs."""
    before = _receive_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(command: Callable[[], object]) -> None:
    """Run a command as all that this process does.

    What is in `orderly_stop` ends in order; all else ends at once, until the process is gone.

    Raises:
        BaseException: what the command raised, if no signal stopped it. If one did, the process
            ends here: threads that still wait for a server would keep it for as long.
    """
    sys.unraisablehook = _no_lost_interrupt
    ours = _receive_signals()
    atexit.register(_ignore, ours)
    try:
        command()
    except SystemExit as end:
        if _stop.told:
            exit_at_once(end.code if isinstance(end.code, int) else exit_code())
        raise
    except BaseException:
        if _stop.told:  # it may be what a library made of the interrupt
            exit_at_once(exit_code())
        raise


@contextmanager
def orderly_stop() -> Iterator[None]:
    """Let the first signal end the body by a KeyboardInterrupt."""
    _stop.told, _stop.has_begun = 0, True
    try:
        yield
    finally:
        _stop.has_begun = False


def exit_code() -> int:
    """Return the exit code of a command that was stopped: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (_stop.told or signal.SIGINT)


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
            if _stop.told:
                raise asyncio.CancelledError
            return await work
        finally:
            _stop.cancel = _wait

    _stop.cancel = _wait  # an interrupt would break what opens or closes the loop
    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if _stop.told:
            raise KeyboardInterrupt from None
        raise
    finally:
        _stop.cancel = None
        work.close()
    if _stop.told:
        raise KeyboardInterrupt  # it came with the end; what would come next does not begin
    return result


def exit_at_once(code: int) -> None:
    """End this process, whatever it does; what it has printed is shown."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or just being written to
            stream.flush()
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os._exit(code)


def _receive_signals() -> dict[int, Any]:
    """Receive the signals, and return the handlers that they had.

    One that is ignored, as in the background of a shell, or handled by others is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    _stop.process = os.getpid()
    plain = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number in SIGNALS if signal.getsignal(number) in plain]
    return {number: signal.signal(number, _stop.receive) for number in ours}


def _ignore(numbers: Iterable[int]) -> None:
    """Ignore signals while Python clears up, whose threads have ended: the exit code stays."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _wait() -> None:
    """Do nothing about a signal: who opens or closes an event loop looks for it next."""


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


def _no_lost_interrupt(unraisable: Any) -> None:
    """End at once by an interrupt that nobody can catch, as it came in a finalizer."""
    if unraisable.exc_type is KeyboardInterrupt:
        exit_at_once(exit_code())
    sys.__unraisablehook__(unraisable)
