"""Checksums of the weights on both sides of each sync, noted by `tools/stand_ins/vllm_on_cpu`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for


@dataclass
class Weights:
    """Checksums of weights on their way, each a list in the order of the syncs.

    Attributes:
        trained: what the trainer holds when it sends.
        loaded: what the engine holds when it has loaded.
        sent: each bucket as it leaves the trainer.
        received: each bucket as it comes in.
    """

    trained: list[int] = field(default_factory=list)
    loaded: list[int] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    received: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether what left the trainer has arrived."""
        both = len(self.trained) == len(self.loaded)
        return both and len(self.sent) == len(self.received)


HEAD = ("recipe", "vLLM", "weights", "ranks", "steps", "syncs", "equal", "changed", "k3_kl")
"""Names of the columns of `table_line`."""


def table_line(
    recipe: str, place: str, kind: str, ranks: int, weights: Weights, steps: Sequence[Any]
) -> tuple[str, ...]:
    """Return a line of the table of what ran.

    Args:
        recipe: its name.
        place: of vLLM.
        kind: of the weights that are sent.
        ranks: that trained.
        weights: the checksums.
        steps: the log of the training.
    """
    one_side: Sequence[object] = weights.trained or weights.sent
    other_side: Sequence[object] = weights.loaded or weights.received
    equal = sum(one == other for one, other in zip(one_side, other_side, strict=True))
    changed = sum(one != other for one, other in pairwise(one_side))
    worst = max(abs(line["rollout_correction/k3_kl"]) for line in steps)
    counts = (ranks, len(steps), len(one_side), equal, changed)
    return (recipe, place, kind, *map(str, counts), f"{worst:g}")


class WeightsLog:
    """The file in which both sides note checksums; it may be read several times.

    Args:
        file: the path.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begin = 0

    def start(self) -> None:
        """Leave out what is there already."""
        self.begin = len(self._lines())

    def read(self) -> Weights:
        """Return what was noted since the start; the engine notes its last sync a little later."""
        wait_for(lambda: self._read().is_complete, f"as many syncs on both sides in {self.file}")
        return self._read()

    def _read(self) -> Weights:
        found = Weights()
        for line in self._lines()[self.begin :]:
            values = getattr(found, line["side"])
            size = line.get("bytes")
            values.append(line["sum"] if size is None else (size, line["sum"]))
        return found

    def _lines(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text().splitlines()]
