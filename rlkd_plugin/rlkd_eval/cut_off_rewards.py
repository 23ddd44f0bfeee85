"""Rewards of completions that were cut off at the length limit, and of whole ones, side by side.

The traces say which completions were cut off, `completions.jsonl` has all rewards. The two have no
common name for a completion, but the same order: a rank's rows of a step, rank after rank. A table
is matched with a step's rows only where the rewards of the traces equal those of a column.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose, isnan, nan
from pathlib import Path

import msgspec

from rlkd_plugin.rlkd_eval.completion_tables import CompletionTable
from rlkd_plugin.rlkd_files import numbered_lines

OF_TRACES = "structure reward"
"""The name of the traces' reward, where no table has another name."""
SINGLE = 1e-5
"""Relative difference that float32, in which ms-swift keeps rewards, makes."""


class _TracedReward(msgspec.Struct):
    """The fields of a trace line (`engines.trace.TraceRow`) that are read here."""

    step: int | None = None
    cut_off: bool = False
    reward: float | None = None


_decoder = msgspec.json.Decoder(_TracedReward)


@dataclass
class RankTrace:
    """The rewards in the trace of one rank by step, in the order of its lines; NaN for None."""

    rewards: dict[int, "array[float]"] = field(default_factory=lambda: defaultdict(_doubles))
    cut_off: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))


@dataclass(frozen=True)
class Mean:
    """A sum of `count` values, which can be added to others."""

    count: int = 0
    total: float = 0.0

    @property
    def value(self) -> float | None:
        """The mean; None without values."""
        return self.total / self.count if self.count else None

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.count + other.count, self.total + other.total)


@dataclass(frozen=True)
class Ends:
    """A reward's mean over whole and over cut-off completions; a reward of None is not counted."""

    whole: Mean = Mean()
    cut_off: Mean = Mean()

    def __add__(self, other: "Ends") -> "Ends":
        return Ends(self.whole + other.whole, self.cut_off + other.cut_off)


def read_ranks(traces: Iterable[Path]) -> list[RankTrace]:
    """Read the traces of a run in the order of its ranks; broken lines are skipped."""
    return [_read_rank(trace) for trace in sorted(traces, key=_rank)]


def ends_of_table(table: CompletionTable, ranks: Sequence[RankTrace]) -> dict[str, Ends] | None:
    """Return each reward's means over a table, or None where the traces do not match it.

    A trace has the number of steps done before a completion, a table the step that it is for.
    """
    count = len(table.prompts)
    if not ranks or count % len(ranks):
        return None
    # rows of an evaluation before the step, or of a lost first try, come first
    size, step = count // len(ranks), table.step - 1
    traced = [x for rank in ranks for x in rank.rewards.get(step, ())[-size:]]
    cut_off = [bool(x) for rank in ranks for x in rank.cut_off.get(step, b"")[-size:]]
    if not any(_are_equal(column, traced) for column in table.rewards.values()):
        return None
    return {name: _ends(column, cut_off) for name, column in table.rewards.items()}


def ends_of_traces(ranks: Sequence[RankTrace]) -> dict[str, Ends]:
    """Return the means of the traces' own reward over all their lines; nothing without lines."""
    total = Ends()
    for rank in ranks:
        for step, rewards in rank.rewards.items():
            known = [None if isnan(reward) else reward for reward in rewards]
            total += _ends(known, [bool(x) for x in rank.cut_off[step]])
    return {OF_TRACES: total} if total.whole.count + total.cut_off.count else {}


def pool_ends(found: Iterable[Mapping[str, Ends]]) -> dict[str, Ends]:
    """Return each reward's means over all tables together."""
    pooled: dict[str, Ends] = {}
    for one in found:
        for name, ends in one.items():
            pooled[name] = pooled.get(name, Ends()) + ends
    return pooled


def _doubles() -> "array[float]":
    return array("d")


def _rank(trace: Path) -> int:
    found = re.search(r"\d+$", trace.stem)
    return int(found[0]) if found else 0


def _read_rank(trace: Path) -> RankTrace:
    rank = RankTrace()
    for _, line in numbered_lines(trace):
        try:
            row = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # counted where the traces are sampled
        if row.step is not None:
            rank.rewards[row.step].append(nan if row.reward is None else row.reward)
            rank.cut_off[row.step].append(row.cut_off)
    return rank


def _are_equal(column: Sequence[float | None], traced: Sequence[float]) -> bool:
    return len(column) == len(traced) and all(
        isnan(b) if a is None else isclose(a, b, rel_tol=SINGLE, abs_tol=SINGLE)
        for a, b in zip(column, traced, strict=True)
    )


def _ends(rewards: Sequence[float | None], cut_off: Sequence[bool]) -> Ends:
    known = [(r, cut) for r, cut in zip(rewards, cut_off, strict=True) if r is not None]
    whole, cut = ([r for r, is_cut in known if is_cut is end] for end in (False, True))
    return Ends(Mean(len(whole), sum(whole)), Mean(len(cut), sum(cut)))
