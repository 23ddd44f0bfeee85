"""How a command is stopped: SIGTERM ends it in order as Ctrl-C does, with its own exit code."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer


@contextmanager
def orderly_stop() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the body by a KeyboardInterrupt, and then the command.

    A signal that the caller ignores, or handles itself, is left as it is.

    Raises:
        typer.Exit: with code 128 and the signal's number, if it was stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = signal.SIGINT

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = signal.SIGTERM
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)  # an event loop has its own way to stop
        else:
            raise KeyboardInterrupt  # the shell of a job in the background ignores Ctrl-C

    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + told) from None
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)


def end_with(command: Callable[[], object]) -> None:
    """Run a command as all that this process does.

    One that was stopped ends at once then: threads that wait for a server would keep the process.
    """
    try:
        command()
    except SystemExit as end:
        if end.code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # nobody reads it any more
                    stream.flush()
            os._exit(end.code)
        raise
