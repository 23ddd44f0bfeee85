"""Shares a run's counts between its ranks; no rank waits for another.

The ranks append their counts to a key in the store that created their process group. A
collective operation would deadlock: with Ray and Megatron some ranks may call no reward.
"""

import itertools
from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

import msgspec
import torch.distributed as dist
from swift.utils import get_logger
from torch.distributed import distributed_c10d

from rlkd_plugin.engines.round_counts import RoundCounts
from rlkd_plugin.engines.run_window import OwnRounds, Rounds

logger = get_logger()

_numbers = itertools.count()  # of this process's rewards, which all ranks build in one order
_decode = msgspec.json.Decoder(RoundCounts).decode


def rounds_of_next_reward() -> Callable[[], Rounds]:
    """Return a function, to be called at a reward's first batch, that finds its ranks' rounds."""
    return partial(_find_rounds, next(_numbers))


def _find_rounds(reward: int) -> Rounds:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return OwnRounds()
    store: Any = distributed_c10d._get_default_store()
    if not store.has_extended_api():  # it cannot append
        return OwnRounds()
    return SharedRounds(
        distributed_c10d.PrefixStore(f"rlkd/{reward}", store), dist.get_world_size()
    )


class SharedRounds:
    """The rounds of all ranks of a process group.

    Args:
        store: torch's, of this reward alone; its annotations lack what a TCPStore can do.
        ranks: how many there are.
    """

    def __init__(self, store: Any, ranks: int) -> None:
        self._store = store
        self._ranks = ranks
        self._own: dict[int, RoundCounts] = {}  # of the rounds that may still be read
        self._is_lost = False

    def add(self, number: int, counts: RoundCounts) -> None:
        self._own[number] = counts
        if not self._is_lost:
            try:
                self._store.append(str(number), msgspec.json.encode(counts).decode() + "\n")
            except RuntimeError as error:
                self._lose(error)

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        own = self._own[number]
        for older in [one for one in self._own if one < number]:
            del self._own[older]
        try:
            # `get` waits for a key that is not there
            if self._is_lost or not self._store.check([str(number)]):
                return own, True
            lines = self._store.get(str(number)).splitlines()
            is_whole = len(lines) >= self._ranks
            if is_whole and number >= 2:  # every rank has judged the rounds before the last
                self._store.delete_key(str(number - 2))
        except RuntimeError as error:
            self._lose(error)
            return own, True
        return reduce(add, map(_decode, lines)), is_whole

    def _lose(self, error: RuntimeError) -> None:
        """Continue with this rank's counts alone where the store cannot be reached."""
        self._is_lost = True
        reason = (str(error).splitlines() or ["no reason given"])[0]
        logger.warning(
            f"rlkd: the ranks cannot share their counts of rejections ({reason}); each rank "
            "continues with its own"
        )
