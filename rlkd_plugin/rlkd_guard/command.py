"""Runs one command of a Procfile, and ends all of its processes with it.

A process manager ends only the process group that it started. torchrun's ranks have their own
sessions: they outlive a launcher that was killed, keep their devices, and keep open the pipe whose
end would notify the manager. If the manager itself is killed, nothing ends the commands. `rlkd
guard` runs between manager and command. It consists of two processes that watch each other, so that
either of them may be killed too. It starts one command, once. It needs Linux.
"""

import ctypes
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Sequence

import psutil

from rlkd_plugin.rlkd_guard.failed_sync import FAILED_SYNC, stale_server_message
from rlkd_plugin.rlkd_guard.relay import Relay

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; honcho kills us after five."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

FAILED_SYNC_LINE = re.compile(rb"\[ERROR:[^\]]*\] " + FAILED_SYNC.encode())
"""The line of a rollout server's log, with ms-swift's prefix."""

TRACEBACK = 1.0
"""Seconds to wait for the traceback that follows such a line."""

logger = logging.getLogger(__name__)


def guard(command: Sequence[str], server: bool = False, rollout: bool = False) -> int:
    """Run a command until it ends, a signal asks it to stop, or the process manager is gone.

    Then all of its processes are ended.

    Args:
        command: its words.
        server: whether any end is an error. vLLM ends with status 0 if its engine was killed, and a
            process manager returns the status of the first command that ends.
        rollout: whether it is `swift rollout`, a server that is also stopped if it logs that it
            failed to load the student's weights.

    Returns:
        The command's exit status as a shell reports it: 128 + n after signal n, 127 if it does not
        exist, 126 if it is not permitted.
    """
    manager = manager_of(psutil.Process())
    _adopt_orphans()
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(number, lambda number, _: received.append(number))
    outer = psutil.Process()
    inner = os.fork()
    if inner:
        status = _hold(inner, lambda: _is_gone(*manager), received)
        if (server or rollout) and status == 0:
            logger.warning("rlkd guard: the server has ended")
        return status or int(server or rollout)
    status = 1
    try:
        _adopt_orphans()
        status = _run(command, outer, received, Relay(FAILED_SYNC_LINE) if rollout else None)
    except Exception:
        logger.exception("rlkd guard: failed")
    finally:
        os._exit(status)  # keep open what the outer process has open


def manager_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process's parent, and the ancestors that the parent is a fork of.

    `honcho start` watches each of its commands from a fork of itself, which outlives it.

    Raises:
        ProcessLookupError: if the parent is such a fork, and its honcho has ended already.
    """
    found: list[psutil.Process] = []
    try:
        above = process.parent()
        while above and (not found or above.cmdline() == found[0].cmdline()):
            found.append(above)
            above = above.parent()
        words = found[0].cmdline() if found else []
    except psutil.Error:  # it ended meanwhile, or another user's processes are hidden
        return found
    if len(found) == 1 and "start" in words and any(word.endswith("honcho") for word in words):
        raise ProcessLookupError("the process manager is gone")
    return found


def _run(
    command: Sequence[str], outer: psutil.Process, received: Sequence[int], relay: Relay | None
) -> int:
    """Start the command, wait for its end, and return its exit status."""
    try:
        # not Popen, which would reap a command that ends early
        pid = os.posix_spawnp(
            command[0],
            [*command],
            os.environ,
            file_actions=relay.file_actions() if relay else (),
            setsigdef=[signal.SIGPIPE],
        )
    except OSError as error:
        logger.warning("rlkd guard: %s: %s", command[0], error.strerror)
        return 126 if isinstance(error, PermissionError) else 127
    if relay is None:
        return _hold(pid, lambda: _is_gone(outer), received)
    return _hold_rollout(pid, outer, received, relay)


def _hold_rollout(pid: int, outer: psutil.Process, received: Sequence[int], relay: Relay) -> int:
    """Wait for a rollout server, and end it if it fails to load the student's weights."""

    def ends() -> bool:
        if relay.found:
            time.sleep(TRACEBACK)
        return bool(relay.found) or _is_gone(outer)

    relay.start()
    status = _hold(pid, ends, received)
    relay.finish(lambda: runs(outer))  # if asked to stop, the outer process ends us
    if not relay.found:
        return status
    logger.warning("rlkd guard: %s", stale_server_message(relay.found))
    return 1


def _hold(pid: int, ends: Callable[[], bool], received: Sequence[int]) -> int:
    """Wait for a child, end all descendants, and return its exit status.

    Args:
        pid: the child's.
        ends: whether to stop waiting.
        received: the signals so far.
    """
    status = None
    while status is None and not received and not ends():
        time.sleep(0.2)
        status, _ = _reap(pid)
    end_all()
    if status is None:
        status = 128 + (received[0] if received else signal.SIGKILL)
    return status


def _is_gone(*processes: psutil.Process) -> bool:
    """Return whether one of these processes has ended, and log it."""
    if all(map(runs, processes)):
        return False
    logger.warning("rlkd guard: stopping, as its parent process has ended")
    return True


def end_all() -> None:
    """End all our descendants: by SIGTERM, and after `GRACE` by SIGKILL.

    It waits until the kernel reports no child. All orphans become our children, and a list of
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
    """Return whether a process exists and is not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, in place of process 1."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel does not permit to adopt orphans")
