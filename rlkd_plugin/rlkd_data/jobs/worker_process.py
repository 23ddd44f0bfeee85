"""The processes of a `WorkerPool`: they apply a function to chunks, and end with their job.

A fork server imports the modules once; the processes that it forks share that memory. It has no
threads of its own when it forks. The pool distributes the work and replaces lost processes.
"""

import gc
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TypeVar

STACK = 40_000
"""Slots of the frame of `apply`. From 3.11 on, Python keeps frames in blocks of 16 KB and maps and
unmaps one at each call that crosses a border, thousands of times for a gold answer. A frame that is
larger gets a block of its own size and more, in which all stay that it calls."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def apply(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the results of a function that calls deeply and often."""
    return [function(item) for item in items]


apply.__code__ = apply.__code__.replace(co_stacksize=STACK)


def run_fork_server(fds: str, modules: str) -> None:
    """Fork a process for each pipe, and end all of them when the job is gone.

    Args:
        fds: comma-separated: a pipe that is closed when the job ends, then one for each process.
        modules: comma-separated: to import first.
    """
    alive_fd, *pipe_fds = map(int, fds.split(","))
    alive = Connection(alive_fd, writable=False)
    pipes = [Connection(fd) for fd in pipe_fds]
    for module in filter(None, modules.split(",")):
        import_module(module)
    gc.freeze()  # a collection would write to the pages that the processes share
    processes = []
    while pipes:
        pipe = pipes.pop()
        pid = os.fork()
        if not pid:
            _run_process(alive, pipe, pipes)
        processes.append(pid)
        pipe.close()
    _wait_for_end(alive)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)  # a dead one keeps its number until it is waited for
        os.waitpid(pid, 0)


def _run_process(alive: Connection, pipe: Connection, others: Sequence[Connection]) -> None:
    """Work until the job closes the pipe; never return."""
    try:
        for other in others:
            other.close()
        # the fork server may be killed before us
        threading.Thread(target=_exit_at_end, args=(alive,), daemon=True).start()
        while True:
            pipe.send_bytes(_answer(pipe.recv_bytes()))
    except (EOFError, OSError, MemoryError):  # the job has ended, or sees that this process has
        pass
    finally:
        os._exit(1)


def _answer(work: bytes) -> bytes:
    """Return the results of a chunk, or the error that the function raised and its traceback.

    Raises:
        MemoryError: if memory is short, which is no fault of the items.
    """
    try:
        function, chunk = pickle.loads(work)
        return pickle.dumps((apply(function, chunk), None, ""))
    except MemoryError:
        raise
    except Exception as error:
        return pickle.dumps(([], _portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled and read again."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own methods raise
        return RuntimeError(f"{type(error).__name__}: {error}")


def _exit_at_end(alive: Connection) -> None:
    _wait_for_end(alive)
    os._exit(1)


def _wait_for_end(alive: Connection) -> None:
    with suppress(EOFError, OSError):
        alive.recv_bytes()
