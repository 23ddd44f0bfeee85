"""Adds structure columns to ms-swift's table of completions (`log_completions`).

That table goes into `completions.jsonl` and into the trackers. ms-swift makes it from `_logs`, one
queue a column, which its `_log_rollout` extends once for each batch of completions. Our queues are
extended at the same time, on all ranks in the same order. A completion is found by its request id,
whichever rank scored it. Not here: the values of the cells (`structure_cells`).
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Protocol

from accelerate.utils import gather_object
from swift.utils import get_logger

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.swift_hooks.rewards.structure_cells import COLUMNS, Cell, structure_cells

Cells = tuple[Cell, ...]
Known = dict[str, Cells | None]
"""Cells of completions by their request id; None where they are ambiguous."""

_current: "weakref.ref[StructureColumns] | None" = None

logger = get_logger()


class LoggedSample(Protocol):
    """The part of ms-swift's `GRPOSample` that is read."""

    request_id: str


class TableTrainer(Protocol):
    """The part of ms-swift's GRPO trainer that is used."""

    _logs: MutableMapping[str, Any]
    _log_rollout: Callable[[Sequence[LoggedSample]], None]


def add_structure_columns(trainer: Any) -> "StructureColumns | None":
    """Add the columns to a trainer's table; return None where it has no table with rewards."""
    global _current
    columns = None
    if getattr(trainer, "log_completions", False) and "rewards" in getattr(trainer, "_logs", ()):
        columns = StructureColumns(trainer)
    _current = weakref.ref(columns) if columns else None
    return columns


def show_structures(rows: Iterable[TraceRow]) -> None:
    """Hand the structures of completions over to the current table, if there is one."""
    columns = _current() if _current else None
    if columns is not None:
        columns.take(rows)


class StructureColumns:
    """The columns of one training.

    Args:
        trainer: its hook `_log_rollout` is wrapped.
    """

    def __init__(self, trainer: TableTrainer) -> None:
        self._logs = trainer._logs
        self._known: Known = {}  # of this rank, since the last logged batch
        self._has_warned = False
        trainer._log_rollout = partial(self.log_rollout, trainer._log_rollout)

    def take(self, rows: Iterable[TraceRow]) -> None:
        """Take completions that this rank has scored."""
        for row in rows:
            if row.request_id is not None:
                _add(self._known, str(row.request_id), structure_cells(row))

    def log_rollout(
        self,
        host: Callable[[Sequence[LoggedSample]], None],
        samples: Sequence[LoggedSample],
    ) -> None:
        """Log a batch of completions, and the cells of each.

        Args:
            host: the trainer's own `_log_rollout`.
            samples: of this rank. Dynamic sampling may have moved them here from another one, or
                dropped some that were scored.
        """
        host(samples)
        own = [sample.request_id for sample in samples], self._known
        self._known = {}
        requests: list[str] = []
        known: Known = {}
        for ids, scored in gather_object([own]):
            requests += ids
            for request, cells in scored.items():
                _add(known, request, cells)
        if known or COLUMNS[0] in self._logs:  # a table without our reward stays as it is
            self._extend(self._match(requests, known))

    def _match(self, requests: Sequence[str], known: Mapping[str, Cells | None]) -> list[Any]:
        """Return the cells of each completion; of none of them where one is not known."""
        found = [known.get(request) for request in requests]
        if unknown := found.count(None):
            self._warn(
                f"{unknown} of {len(found)} completions cannot be matched with their structures by "
                "request_id"
            )
            return [(None,) * len(COLUMNS)] * len(found)
        return found

    def _extend(self, cells: Sequence[Sequence[Cell | None]]) -> None:
        prompts = self._logs["prompt"]
        for number, name in enumerate(COLUMNS):
            if name not in self._logs:
                earlier = [None] * (len(prompts) - len(cells))
                self._logs[name] = deque(earlier, maxlen=prompts.maxlen)
            self._logs[name].extend(row[number] for row in cells)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                f"rlkd: {reason}: the columns rlkd/... of the table of completions are empty for "
                "this batch; rewards and the trace are complete. Logged once"
            )


def _add(known: Known, request: str, cells: Cells | None) -> None:
    """Add the cells of a request; two scores that differ are ambiguous."""
    known[request] = cells if known.get(request, cells) == cells else None
