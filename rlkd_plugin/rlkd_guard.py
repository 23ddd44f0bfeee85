"""Runs one command of a Procfile, and leaves no process of it behind.

A process manager ends the process group that it started. torchrun's ranks live in sessions of
their own: they outlive a launcher that was killed, keep their devices, and hold the pipe by whose
end the manager would notice. When the manager itself is killed, nobody ends anything. `rlkd guard`
stands between the two. It is two processes that watch each other, so that either of them may be
killed too. It is no launcher: it starts one command, once. It needs Linux.

`python -m rlkd_plugin.rlkd_guard [--server] COMMAND` is the same, without `rlkd`.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

import psutil

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; honcho kills us after five."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

logger = logging.getLogger(__name__)


def guard(command: Sequence[str], server: bool = False) -> int:
    """Run a command until it ends, we are told to stop, or the process manager is gone.

    Then everything that it started or left behind is ended.

    Args:
        command: its words.
        server: whether its end is an error, whatever its status. vLLM ends with 0 when its engine
            was killed, and a process manager takes the status of the first to end.

    Returns:
        The command's exit status as a shell reports it: 128 + n after signal n, 127 if it is not
        there, 126 if it may not be run.
    """
    manager = manager_of(psutil.Process())
    _adopt_orphans()
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(number, lambda number, _: told.append(number))
    outer = psutil.Process()
    inner = os.fork()
    if inner:
        status = _hold(inner, manager, told)
        if server and status == 0:
            logger.warning("rlkd guard: the server has ended")
        return status or int(server)
    status = 1
    try:
        _adopt_orphans()
        status = _run(command, [outer], told)
    except Exception:
        logger.exception("rlkd guard: failed")
    finally:
        os._exit(status)  # what the outer one has open is not ours to close


def manager_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process's parent, and those above it of which the parent is a forked copy.

    `honcho start` watches each of its commands by a fork of itself, which outlives it.

    Raises:
        ProcessLookupError: if the parent is such a fork, and its honcho gone already.
    """
    found: list[psutil.Process] = []
    try:
        above = process.parent()
        while above and (not found or above.cmdline() == found[0].cmdline()):
            found.append(above)
            above = above.parent()
        words = found[0].cmdline() if found else []
    except psutil.Error:  # it ended meanwhile; or is of another user, and not to be seen
        return found
    if len(found) == 1 and "start" in words and any(word.endswith("honcho") for word in words):
        raise ProcessLookupError("the process manager is gone")
    return found


def _run(command: Sequence[str], needed: Sequence[psutil.Process], told: Sequence[int]) -> int:
    """Start the command, wait for its end, and return its exit status."""
    try:
        # no Popen: it would reap the command itself, if that is gone before we look
        pid = os.posix_spawnp(command[0], [*command], os.environ, setsigdef=[signal.SIGPIPE])
    except OSError as error:
        logger.warning("rlkd guard: %s: %s", command[0], error.strerror)
        return 126 if isinstance(error, PermissionError) else 127
    return _hold(pid, needed, told)


def _hold(pid: int, needed: Sequence[psutil.Process], told: Sequence[int]) -> int:
    """Wait for a child, end what is left of it, and return its exit status."""
    status = None
    while status is None and not told and all(map(runs, needed)):
        time.sleep(0.2)
        status, _ = _reap(pid)
    if status is None and not told:
        logger.warning("rlkd guard: who started it is gone")
    end_all()
    if status is None:
        status = 128 + (told[0] if told else signal.SIGKILL)
    return status


def end_all() -> None:
    """End all our descendants: by SIGTERM, and after `GRACE` by SIGKILL.

    It lasts until the kernel says that we have no child. All orphans come to us, and a list of
    processes may lack some that change their parent while it is read.
    """
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while _reap(0)[1]:
        late = time.monotonic() > deadline
        for child in psutil.Process().children(recursive=True):
            if late or child.pid not in asked:
                asked.add(child.pid)
                try:
                    child.kill() if late else child.terminate()
                except psutil.Error:  # it ended, or is another user's
                    continue
        time.sleep(0.05)


def _reap(pid: int) -> tuple[int | None, bool]:
    """Reap the children that have ended; return one's exit status, and whether any is left."""
    status = None
    while True:
        try:
            ended, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if ended == 0:
            return status, True
        if ended == pid:
            code = os.waitstatus_to_exitcode(code)
            status = code if code >= 0 else 128 - code


def runs(process: psutil.Process) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, as process 1 is elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel lets us adopt no orphans")


if __name__ == "__main__":
    words = sys.argv[1:]
    is_server = words[:1] == ["--server"]
    sys.exit(guard(words[is_server:], is_server))
