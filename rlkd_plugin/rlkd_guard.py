"""Runs one command of a Procfile, and leaves no process of it behind.

A process manager ends the process group that it started. torchrun's ranks live in sessions of
their own: they outlive a launcher that was killed, keep their devices, and hold the pipe by whose
end the manager would notice. And nobody ends anything when the manager itself is killed. `rlkd
guard` stands between the two. It is two processes that watch each other, so that either of them
may be killed too, and it is no launcher: it starts one command, once. It needs Linux.
"""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Sequence

import psutil

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; honcho kills us after five."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

logger = logging.getLogger(__name__)


def guard(command: Sequence[str], server: bool = False) -> int:
    """Run a command until it ends, we are told to stop, or the process manager is gone.

    Then everything that it started, and that it left behind, is ended.

    Args:
        command: its words.
        server: that it ends is an error, whatever status it has. vLLM ends with 0 when its engine
            was killed, and a process manager takes the status of the first to end.

    Returns:
        The command's exit status as a shell has it: 128 + n after signal n, 127 if it is not there.
    """
    manager = manager_of(psutil.Process())
    _adopt_orphans()
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    outer = psutil.Process()
    inner = os.fork()
    if inner:
        status = _hold(inner, manager, told)
        if server and status == 0:
            logger.warning("rlkd guard: the server has ended")
        return status or int(server)
    status = 127
    try:
        _adopt_orphans()
        # no Popen: it would reap the command itself, when it is gone before we look
        pid = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGPIPE])
        status = _hold(pid, [outer], told)
    except OSError as error:
        logger.warning("rlkd guard: %s: %s", command[0], error.strerror)
    finally:
        os._exit(status)


def manager_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process's parent, and those above it of which the parent is a forked copy.

    honcho watches each of its commands by a fork of itself, which outlives it.
    """
    found = [process.parent()]
    while (above := found[-1].parent()) and above.cmdline() == found[-1].cmdline():
        found.append(above)
    return found


def _hold(pid: int, needed: Sequence[psutil.Process], told: Sequence[int]) -> int:
    """Wait for a child, end what is left of it, and return its exit status."""
    status = None
    while status is None and not told and all(map(_runs, needed)):
        time.sleep(0.2)
        status = _reaped(pid)
    if status is None and not told:
        logger.warning("rlkd guard: the process manager is gone")
    end_all()
    if status is None:
        status = 128 + (told[0] if told else signal.SIGKILL)
    return status


def end_all() -> None:
    """End all our descendants: by SIGTERM, and after `GRACE` by SIGKILL."""
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while children := psutil.Process().children(recursive=True):
        _reaped(0)
        late = time.monotonic() > deadline
        for child in children:
            if late or child.pid not in asked:
                asked.add(child.pid)
                try:
                    child.kill() if late else child.terminate()
                except psutil.NoSuchProcess:
                    continue
        time.sleep(0.05)


def _reaped(pid: int) -> int | None:
    """Reap every child that has ended, orphans that came to us too; return one's exit status."""
    status = None
    while True:
        try:
            ended, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if ended == 0:
            return status
        if ended == pid:
            code = os.waitstatus_to_exitcode(code)
            status = code if code >= 0 else 128 - code


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, as process 1 is elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel lets us adopt no orphans")
