"""The rows that a job has done: a set of hundreds of thousands of numbers in little memory."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np


class DoneRows:
    """The identities of the rows that a job has done, in 9 bytes each.

    Args:
        identities: 64-bit numbers; a row may have several.
    """

    def __init__(self, identities: Iterable[int]) -> None:
        found = np.frombuffer(array("Q", identities), dtype=np.uint64)
        self._sorted = array("Q", np.unique(found).tobytes())
        self._seen = bytearray(len(self._sorted))

    def __contains__(self, identity: int) -> bool:
        return self._place(identity) is not None

    def see(self, identity: int) -> bool:
        """Return whether a row is done and is the first of its duplicates in the source."""
        place = self._place(identity)
        if place is None or self._seen[place]:
            return False
        self._seen[place] = True
        return True

    def _place(self, identity: int) -> int | None:
        place = bisect_left(self._sorted, identity)
        is_there = place < len(self._sorted) and self._sorted[place] == identity
        return place if is_there else None
