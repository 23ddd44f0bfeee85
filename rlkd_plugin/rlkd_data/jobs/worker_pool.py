"""Processes that share a job's work, block by block; a killed one costs only its block's time.

The kernel kills a process when memory is short. New processes then repeat the block. Each
process has a pipe of its own: `ProcessPoolExecutor` and `Pool` share one, and wait for ever where a
process is killed while it writes to it. What the processes do is in `worker_process`.
"""

import logging
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.worker_process import apply

TRIES = 3
"""Maximum tries of a block; if a process is killed in each, the block itself is too large."""
CHUNKS = 4
"""Parts of a block for each process: the last ones to finish wait for less."""
GRACE = 2.0
"""Seconds to wait for the end of a fork server that may still import its modules."""
SERVER = (
    "import sys; fds, modules, *sys.path[:] = sys.argv[1:]; "
    "from rlkd_plugin.rlkd_data.jobs.worker_process import run_fork_server; "
    "run_fork_server(fds, modules)"
)
"""The fork server's program; it sets the job's `sys.path` before it imports any module."""

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class _ProcessKilled(Exception):
    """A process has closed its pipe before it answered."""


@dataclass(frozen=True)
class _Processes:
    """A fork server and its processes.

    Attributes:
        server: imports modules once and forks the processes.
        alive: a pipe that nobody writes to; when it is closed, server and processes end.
        pipes: one to each process.
    """

    server: "subprocess.Popen[bytes]"
    alive: Connection
    pipes: Sequence[Connection]

    def stop(self) -> None:
        """End all of them at once, whatever they do."""
        for pipe in (self.alive, *self.pipes):
            pipe.close()
        try:
            self.server.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()


class WorkerPool:
    """Processes for one job; used with `with`.

    They hold none of the job's locks and leave Ctrl-C to it. However it ends, they end with it.

    Args:
        workers: how many.
        preload: the modules that the work needs; a fork server imports them once for all.
    """

    def __init__(self, workers: int, preload: Sequence[str]) -> None:
        self.workers = workers
        self._preload = preload
        self._processes: _Processes | None = None

    def __enter__(self) -> "WorkerPool":
        self._start()  # they import while the job looks for its first rows
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], what: str
    ) -> list[Result]:
        """Return the results of a block, in its order.

        Args:
            function: of one item; a module's, so that the processes know it.
            items: the block.
            what: names the block in messages.

        Raises:
            RlkdError: if a process is killed in each of `TRIES` tries.
            Exception: what the function raised.
        """
        for _ in range(TRIES):
            try:
                return self._map_once(function, items)
            except _ProcessKilled:
                self._stop()
                logger.warning("a worker process was killed; new ones repeat %s", what)
            except BaseException:
                self._stop()  # some may have work that nobody waits for
                raise
        raise RlkdError(
            f"{what}: a worker process was killed {TRIES} times in this block; memory may be "
            "short. Give the same command again with fewer --workers to resume"
        )

    def _map_once(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        size = max(1, -(-len(items) // (CHUNKS * self.workers)))
        begins = deque(range(0, len(items), size))
        idle = [*(self._processes or self._start()).pipes]
        busy: dict[Connection, int] = {}
        done: dict[int, list[Result]] = {}
        errors: dict[int, Exception] = {}
        while begins or busy:
            while begins and idle:
                begin = begins.popleft()
                chunk = items[begin : begin + size]
                if (work := _pack(function, chunk)) is None:
                    done[begin] = apply(function, chunk)
                    continue
                pipe = idle.pop()
                busy[pipe] = begin
                _send(pipe, work)
            for pipe in wait([*busy]) if busy else ():
                assert isinstance(pipe, Connection)
                begin = busy.pop(pipe)
                done[begin], error = _receive(pipe)
                if error is not None:
                    errors[begin] = error
                    begins.clear()  # an error before it can only come from what is in work
                idle.append(pipe)
        if errors:
            raise errors[min(errors)]
        return [result for begin in sorted(done) for result in done[begin]]

    def _start(self) -> _Processes:
        alive_there, alive = Pipe(duplex=False)
        ends = [Pipe() for _ in range(self.workers)]
        there = [alive_there, *(theirs for _, theirs in ends)]
        fds = [pipe.fileno() for pipe in there]
        words = [",".join(map(str, fds)), ",".join(self._preload), *sys.path]
        with _interrupts_blocked():  # the server and its processes inherit it
            server = subprocess.Popen(
                [sys.executable, "-c", SERVER, *words], stdin=subprocess.DEVNULL, pass_fds=fds
            )
        for pipe in there:
            pipe.close()  # so that the death of the process at the other end is seen
        self._processes = _Processes(server, alive, [ours for ours, _ in ends])
        return self._processes

    def _stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()
            self._processes = None


def _pack(function: Callable[[Item], Result], chunk: Sequence[Item]) -> bytes | None:
    """Return work as it is sent; None for items that are nested too deep for it."""
    try:
        return pickle.dumps((function, chunk))
    except RecursionError:
        return None


def _send(pipe: Connection, work: bytes) -> None:
    try:
        pipe.send_bytes(work)
    except OSError as error:
        raise _ProcessKilled from error


def _receive(pipe: Connection) -> tuple[list, Exception | None]:
    """Return the results of a chunk, and what the function raised."""
    try:
        answer = pipe.recv_bytes()
    except (EOFError, OSError) as error:
        raise _ProcessKilled from error
    results, error, trace = pickle.loads(answer)
    if error is not None:
        error.__cause__ = RuntimeError(f"in a worker process:\n{trace}")
    return results, error


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in the processes that the body starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
