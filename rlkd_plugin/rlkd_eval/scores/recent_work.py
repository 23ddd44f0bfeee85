"""Does equal work once for all who request it at about the same time."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from rlkd_plugin.engines.in_flight import cancel_all

T = TypeVar("T")


class _Shared(Generic[T]):
    """A task, and the number of its users."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = asyncio.ensure_future(work)
        self.users = 0


class RecentWork(Generic[T]):
    """Keeps the tasks in flight and the newest results, so that memory stays bounded.

    Args:
        most: results to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Hashable, _Shared[T]] = {}
        self._results: OrderedDict[Hashable, T] = OrderedDict()
        self._left: set[asyncio.Task[T]] = set()

    async def do(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result for a key; the first user starts the work.

        Work without users is cancelled; an error is raised to all users.
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
        """Cancel the tasks in flight, and wait until they have ended."""
        await cancel_all([*(one.task for one in self._open.values()), *self._left])

    def _leave(self, key: Hashable) -> None:
        task = self._open.pop(key).task  # the next user starts anew
        self._left.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: "asyncio.Task[T]") -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: it has no user

    def _end(self, key: Hashable) -> None:
        """Keep the result of a task that has ended, if it has one."""
        shared = self._open.get(key)
        if shared is None or not shared.task.done():
            return  # it has no user left; another task may be in its place
        del self._open[key]
        if shared.task.cancelled() or shared.task.exception() is not None:
            return
        self._results[key] = shared.task.result()
        if len(self._results) > self._most:
            self._results.popitem(last=False)
