"""One resource for each event loop that runs, for all who use it there at once.

What belongs to an event loop, a session of connections or a semaphore, works in no other. Batches
of one loop share theirs; it ends with the last of them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """The resources of one kind; a pickled copy has none."""

    def __init__(self) -> None:
        self._open: dict[asyncio.AbstractEventLoop, tuple[T, int]] = {}

    def enter(self, make: Callable[[], T]) -> T:
        """Return the running loop's resource, made now if nobody has it, and count a user."""
        loop = asyncio.get_running_loop()
        resource, users = self._open[loop] if loop in self._open else (make(), 0)
        self._open[loop] = resource, users + 1
        return resource

    def leave(self) -> T | None:
        """Count a user less; return the resource, to be closed, if this was the last."""
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
        """Whether anybody has a resource open, in any loop."""
        return bool(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": {}}
