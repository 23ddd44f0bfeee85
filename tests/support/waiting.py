"""Waiting for a state, however busy the machine is."""

import signal
import time
from collections.abc import Callable
from typing import TypeVar

LONG = 120.0
"""Seconds until a wait gives up; nothing that is waited for takes a twentieth of it alone."""

State = TypeVar("State")


def wait_for(state: Callable[[], State], what: str, seconds: float = LONG) -> State:
    """Return the first value that is true, of a function that is asked again and again.

    Raises:
        AssertionError: if it never is; `what` says what was waited for.
    """
    until = time.monotonic() + seconds
    while not (value := state()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return value


def default_signals() -> None:
    """Undo what `nohup` and a shell's `&` set: for `preexec_fn`, as children inherit it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
