"""One resource for each running event loop, shared by its concurrent users.

A connection session or a semaphore works only in its own event loop. Batches in one loop share
it; it ends with the last of them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """The resources of one kind, by event loop; a pickled copy has none."""

    def __init__(self) -> None:
        self._open: dict[asyncio.AbstractEventLoop, tuple[T, int]] = {}

    def enter(self, make: Callable[[], T]) -> T:
        """Add a user, and return the running loop's resource, made now for the first user."""
        loop = asyncio.get_running_loop()
        resource, users = self._open[loop] if loop in self._open else (make(), 0)
        self._open[loop] = resource, users + 1
        return resource

    def leave(self) -> T | None:
        """Remove a user; return the resource, to be closed, if it was the last."""
        loop = asyncio.get_running_loop()
        resource, users = self._open[loop]
        if users > 1:
            self._open[loop] = resource, users - 1
            return None
        del self._open[loop]
        return resource

    @property
    def here(self) -> T:
        """The running loop's resource."""
        return self._open[asyncio.get_running_loop()][0]

    def __bool__(self) -> bool:
        """Whether there is a user in any loop."""
        return bool(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": {}}
