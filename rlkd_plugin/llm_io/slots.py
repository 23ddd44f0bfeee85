"""Bounds the requests in flight, so that verdicts need not wait for structures to be written."""

import asyncio
from collections import deque

MOST_FOR_VERDICTS, LEAST_FOR_VERDICTS = 4, 20
"""Where structures are streamed, 1 / 20 to 1 / 4 of the slots is kept for verdicts: as many as are
in flight. A structure is written for seconds; verdicts that waited for one to end would come too
late to end it."""


class Slots:
    """Slots for the requests of one event loop: verdicts first, each kind in the order they came.

    Args:
        count: requests in flight.
        keeps: whether slots are kept for verdicts, at least one of two or more. Structures always
            have three quarters of the slots, those of teachers among them. Another one begins only
            if it leaves as many free as there are verdicts in flight.
    """

    def __init__(self, count: int, keeps: bool) -> None:
        self._count = count
        self._most = max(1, count // MOST_FOR_VERDICTS) if keeps and count > 1 else 0
        self._least = min(self._most, max(1, count // LEAST_FOR_VERDICTS))
        self._verdicts = _Kind(self)
        self._structures = _Kind(self)

    def of(self, role: str) -> "_Kind":
        """Return what holds a slot for a request to a role, while it is entered."""
        return self._structures if role == "GSRM" else self._verdicts

    def share_out(self) -> None:
        """Give the free slots to those who wait."""
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
    """The requests of one kind: those in flight, and those that wait for a slot."""

    def __init__(self, slots: Slots) -> None:
        self.held = 0
        self._slots = slots
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits who was not cancelled."""
        while self._waiting and self._waiting[0].cancelled():
            self._waiting.popleft()
        return bool(self._waiting)

    def give(self) -> None:
        """Give a slot to the first who waits."""
        self._waiting.popleft().set_result(None)
        self.held += 1

    async def __aenter__(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._slots.share_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given meanwhile
                await self.__aexit__()
            raise

    async def __aexit__(self, *error: object) -> None:
        self.held -= 1
        self._slots.share_out()
