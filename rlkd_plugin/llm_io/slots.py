"""Bounds the requests in flight, with slots reserved for verdicts."""

import asyncio
from collections import deque

MOST_FOR_VERDICTS, LEAST_FOR_VERDICTS = 4, 20
"""If structures are streamed, 1 / 20 to 1 / 4 of the slots are reserved for verdicts: as many as
verdicts are in flight. Writing a structure takes seconds. A verdict without a slot would wait until
one is finished, too late to stop it."""


class Slots:
    """Slots for the requests of one event loop: verdicts first, each kind in order of arrival.

    Args:
        count: requests in flight.
        reserves: whether slots are reserved for verdicts, at least one of two or more. Structures,
            including those of teachers, always have three quarters of the slots. Beyond that one
            begins only if it leaves as many slots free as verdicts are in flight.
    """

    def __init__(self, count: int, reserves: bool) -> None:
        self._count = count
        self._most = max(1, count // MOST_FOR_VERDICTS) if reserves and count > 1 else 0
        self._least = min(self._most, max(1, count // LEAST_FOR_VERDICTS))
        self._verdicts = _Kind(self)
        self._structures = _Kind(self)

    def of(self, role: str) -> "_Kind":
        """Return the context manager that holds a slot for a request to a role."""
        return self._structures if role == "GSRM" else self._verdicts

    def share_out(self) -> None:
        """Give the free slots to waiting requests."""
        while self._is_free and self._verdicts.is_waited_for:
            self._verdicts.give()
        while self._is_free and self._structures.is_waited_for and self._may_begin:
            self._structures.give()

    @property
    def _is_free(self) -> bool:
        return self._verdicts.held + self._structures.held < self._count

    @property
    def _may_begin(self) -> bool:
        """Whether another structure may take a free slot."""
        structures, verdicts = self._structures.held, self._verdicts.held
        if structures < self._count - self._most:
            return True
        spare = min(self._most, max(self._least, verdicts))
        return structures + 1 + verdicts + spare <= self._count


class _Kind:
    """The requests of one kind, in flight or waiting for a slot."""

    def __init__(self, slots: Slots) -> None:
        self.held = 0
        self._slots = slots
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_waited_for(self) -> bool:
        """Whether a request waits that was not cancelled."""
        while self._waiting and self._waiting[0].cancelled():
            self._waiting.popleft()
        return bool(self._waiting)

    def give(self) -> None:
        """Give a slot to the first waiting request."""
        self._waiting.popleft().set_result(None)
        self.held += 1

    async def __aenter__(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._slots.share_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it got its slot meanwhile
                await self.__aexit__()
            raise

    async def __aexit__(self, *error: object) -> None:
        self.held -= 1
        self._slots.share_out()
