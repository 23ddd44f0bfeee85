"""Concurrent work that is cancelled when nobody waits for it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def gather_all(work: Iterable[Awaitable[T]]) -> list[T]:
    """Return all results in order; the first error cancels the rest."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)


async def cancel_all(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel tasks, wait until each has ended, and ignore their errors."""
    ended = list(tasks)
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)


class SharedWork:
    """Tasks shared by several users: one a key, cancelled when its last user leaves.

    Attributes:
        started: every task, to be cancelled with `cancel_all`.
    """

    def __init__(self) -> None:
        self.started: list[asyncio.Task[Any]] = []
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._users: Counter[Hashable] = Counter()

    def join(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Return the task for a key, which its first user starts; do not cancel it."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.ensure_future(begin())
            self.started.append(self._tasks[key])
        self._users[key] += 1
        return self._tasks[key]

    def leave(self, key: Hashable) -> bool:
        """Stop using a task; return whether it was cancelled, as nobody else uses it."""
        self._users[key] -= 1
        if self._users[key] or self._tasks[key].done():
            return False
        self._tasks.pop(key).cancel()
        return True
