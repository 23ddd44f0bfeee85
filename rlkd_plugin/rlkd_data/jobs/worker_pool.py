"""Processes that share a job's work, block by block; one that is killed costs its block's time.

The kernel kills a process when memory is short. The block is then done again by new processes. The
processes leave Ctrl-C to the job, hold none of its locks, and end with it however it ends.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from rlkd_plugin.gsrm import RlkdError

TRIES = 3
"""Times that a block is begun; if a process is killed in each, the block itself is too much."""
CHUNKS = 4
"""Parts of a block for each process: the last ones to finish wait for less."""

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class WorkerPool:
    """Processes for one job; used with `with`.

    Args:
        workers: how many.
        preload: the modules that the work needs; a fork server imports them once for all.
    """

    def __init__(self, workers: int, preload: Sequence[str]) -> None:
        self.workers = workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*preload])
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
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
            except BrokenProcessPool:
                self._stop()
                logger.warning("a worker process was killed; %s: done again by new ones", what)
        raise RlkdError(
            f"{what}: a worker process was killed {TRIES} times in this block; memory may be "
            "short: give fewer --workers. What was done stays, and the same command goes on there"
        )

    def _map_once(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        size = max(1, -(-len(items) // (CHUNKS * self.workers)))
        chunks = [items[begin : begin + size] for begin in range(0, len(items), size)]
        with _interrupts_blocked():  # the first chunk starts the processes, which inherit it
            executor = self._executor or self._start()
            try:
                futures = [executor.submit(_map_chunk, function, chunk) for chunk in chunks]
            except (OSError, EOFError) as error:  # the fork server was killed
                raise BrokenProcessPool(str(error)) from error
        try:
            return [result for future in futures for result in future.result()]
        except BaseException:
            for future in futures:
                future.cancel()  # nobody waits for it
            raise

    def _start(self) -> ProcessPoolExecutor:
        self._executor = ProcessPoolExecutor(
            self.workers, mp_context=self._context, initializer=_end_with_parent
        )
        return self._executor

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _map_chunk(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _end_with_parent() -> None:
    """Let this process end when the job's is gone; nothing else tells it that no work will come."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # it is a worker

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in the processes that the body starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
