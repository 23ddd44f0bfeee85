"""Bounds the requests in flight, so that verdicts need not wait for structures to be written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FOR_VERDICTS = 4
"""Where structures are streamed, 1 / `FOR_VERDICTS` of the slots is kept for verdicts. A structure
is written for seconds; verdicts that waited for one to end would come too late to end it."""


class Slots:
    """Slots for the requests of one event loop, first come, first served.

    Args:
        count: requests in flight.
        keeps: whether a quarter is kept for verdicts, at least one of two or more; then structures
            have the others, those of teachers among them.
    """

    def __init__(self, count: int, keeps: bool) -> None:
        kept = max(1, count // FOR_VERDICTS) if keeps and count > 1 else 0
        self._all = asyncio.Semaphore(count)
        self._structures = asyncio.Semaphore(count - kept)

    @asynccontextmanager
    async def of(self, role: str) -> AsyncIterator[None]:
        """Hold a slot for a request to a role."""
        if role == "GSRM":
            async with self._structures, self._all:
                yield
        else:
            async with self._all:
                yield
