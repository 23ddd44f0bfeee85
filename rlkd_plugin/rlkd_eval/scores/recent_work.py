"""Work that is done once for all who ask for it at about the same time, however long a job is."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from rlkd_plugin.engines.in_flight import cancel_all

T = TypeVar("T")


class _Shared(Generic[T]):
    """A task, and how many wait for it."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = asyncio.ensure_future(work)
        self.users = 0


class RecentWork(Generic[T]):
    """Keeps what is in flight and the newest results, so that memory stays bounded.

    Args:
        most: results that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Hashable, _Shared[T]] = {}
        self._results: OrderedDict[Hashable, T] = OrderedDict()
        self._left: set[asyncio.Task[T]] = set()

    async def do(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result for a key; the first one who asks begins the work.

        Work that everybody has stopped waiting for is cancelled; an error is everybody's.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key]
        if key not in self._open:
            self._open[key] = _Shared(begin())
            self._open[key].task.add_done_callback(lambda _: self._end(key))
        shared = self._open[key]
        shared.users += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.users -= 1
            if not shared.users and not shared.task.done():
                self._leave(key)

    async def close(self) -> None:
        """Cancel what is in flight, and wait until it has ended."""
        await cancel_all([*(one.task for one in self._open.values()), *self._left])

    def _leave(self, key: Hashable) -> None:
        task = self._open.pop(key).task  # who asks now begins anew
        self._left.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: "asyncio.Task[T]") -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # it is nobody's any more

    def _end(self, key: Hashable) -> None:
        """Keep the result of a task that has ended, if it has one."""
        shared = self._open.get(key)
        if shared is None or not shared.task.done():
            return  # everybody has left it; another one may be in its place
        del self._open[key]
        if shared.task.cancelled() or shared.task.exception() is not None:
            return
        self._results[key] = shared.task.result()
        if len(self._results) > self._most:
            self._results.popitem(last=False)
