"""Bounds the requests in flight, so that verdicts need not wait for structures to be written."""

import asyncio

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
        self._structures = _Both(asyncio.Semaphore(count - kept), self._all)

    def of(self, role: str) -> "asyncio.Semaphore | _Both":
        """Return what holds a slot for a request to a role, while it is entered."""
        return self._structures if role == "GSRM" else self._all


class _Both:
    """Two semaphores, acquired one after the other."""

    def __init__(self, first: asyncio.Semaphore, second: asyncio.Semaphore) -> None:
        self._first = first
        self._second = second

    async def __aenter__(self) -> None:
        await self._first.acquire()
        try:
            await self._second.acquire()
        except asyncio.CancelledError:  # nothing else can happen while one waits
            self._first.release()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._second.release()
        self._first.release()
