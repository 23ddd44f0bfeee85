"""Reads traces of any size: every line is counted, a bounded sample is kept.

A training's trace is read once. One of `rlkd score` is read twice, first to find the lines that
later lines of the same completions replace.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rlkd_plugin.engines.trace import VERSION, TraceRow, parse_row
from rlkd_plugin.engines.walk_end import WalkEnd, walk_end
from rlkd_plugin.rlkd_eval.scores.score_lines import outdated_lines
from rlkd_plugin.rlkd_eval.scores.scored import Scored

MOST_ROWS = 1000  # of all runs together: a phone loads them in seconds
MOST_BYTES = 8 << 20  # of their lines, where texts are long
LONGEST = 2 << 20  # bytes of a line; a longer one is skipped unparsed
A_STEP = 16  # completions kept of a step, unless all steps together are too many
FEWEST = 4  # completions of a step, before whole steps are dropped

Step = int | None


@dataclass
class TraceSample:
    """The completions kept of a run's traces, by step; memory is bounded by rows and bytes.

    A step's completions are drawn evenly (a reservoir). Where all together are too many, fewer
    are kept of each step, and then only those of every second, fourth, eighth ... step. `seen`,
    `endings` and `branched` (completions with several teacher branches) count all completions;
    `scored` covers all that `rlkd score` wrote, and is None for a training's traces.
    """

    most_rows: int = MOST_ROWS
    most_bytes: int = MOST_BYTES
    kept: dict[Step, list[tuple[TraceRow, int]]] = field(default_factory=dict)
    seen: Counter[Step] = field(default_factory=Counter)
    endings: Counter[tuple[Step, WalkEnd]] = field(default_factory=Counter)
    branched: int = 0
    scored: Scored | None = None
    unreadable: int = 0
    newer: int = 0
    every: int = 1
    a_step: int = A_STEP
    rows: int = 0
    bytes: int = 0
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def add(self, row: TraceRow, size: int) -> None:
        """Count a completion, and keep it if it is drawn; `size` is its line's, in bytes."""
        self.seen[row.step] += 1
        self.endings[row.step, walk_end(row)] += 1
        self.branched += bool(row.branches)
        self.newer += row.version > VERSION
        if (row.step or 0) % self.every:
            return
        rows = self.kept.setdefault(row.step, [])
        if len(rows) < self.a_step:
            rows.append((row, size))
        elif (place := self.draw.randrange(self.seen[row.step])) < self.a_step:
            self._drop(rows[place])
            rows[place] = (row, size)
        else:
            return
        self.rows += 1
        self.bytes += size
        while (self.rows > self.most_rows or self.bytes > self.most_bytes) and self.rows > 1:
            self._thin()

    def _drop(self, *dropped: tuple[TraceRow, int]) -> None:
        self.rows -= len(dropped)
        self.bytes -= sum(size for _, size in dropped)

    def _thin(self) -> None:
        """Keep half as many completions of a step, or half of the steps."""
        if self.a_step > FEWEST or len(self.kept) == 1:
            self.a_step = max(1, self.a_step // 2)
            for rows in self.kept.values():
                self.draw.shuffle(rows)
                self._drop(*rows[self.a_step :])
                del rows[self.a_step :]
            return
        self.every *= 2
        for step in [step for step in self.kept if (step or 0) % self.every]:
            self._drop(*self.kept.pop(step))

    def steps(self) -> Iterator[tuple[Step, list[TraceRow]]]:
        """Yield the steps in order, each with its kept completions."""
        for step in sorted(self.kept, key=lambda step: -1 if step is None else step):
            yield step, [row for row, _ in self.kept[step]]

    def remarks(self) -> list[str]:
        """Return remarks for the reader: the size of the sample, and the skipped lines."""
        total, remarks = self.seen.total(), []
        if self.rows < total:
            nth = "2nd" if self.every == 2 else f"{self.every}th"
            steps = f"of every {nth} step" if self.every > 1 else "of each step"
            remarks.append(
                f"the alignment view shows {self.rows:,} of {total:,} completions, at most "
                f"{self.a_step} {steps}, drawn at random; the counts are of all"
            )
        if self.unreadable:
            remarks.append(f"unreadable lines of the traces, skipped: {self.unreadable:,}")
        if self.newer:
            remarks.append(
                f"lines of the traces of a newer version than this report's, {VERSION}: "
                f"{self.newer:,}; their new fields are skipped"
            )
        return remarks


def sample_traces(traces: Iterable[Path], runs: int = 1) -> TraceSample:
    """Read the traces of a run's ranks; its sample is one of `runs` in the page.

    Of several lines of a completion that `rlkd score` wrote, the newest counts.
    """
    sample = TraceSample(max(1, MOST_ROWS // runs), MOST_BYTES // runs)
    for trace in traces:
        with trace.open("rb") as file:
            _add_trace(sample, file)
    return sample


def _add_trace(sample: TraceSample, file: BinaryIO) -> None:
    outdated = outdated_lines(_lines(file))
    file.seek(0)
    for number, line in enumerate(_lines(file)):
        row = parse_row(line) if line else None
        if row is None:
            sample.unreadable += 1
        elif outdated is None:
            sample.add(row, len(line))
        elif number not in outdated:
            sample.add(row, len(line))
            sample.scored = sample.scored or Scored()
            sample.scored.add(row)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that are not blank; b"" for one that is too long."""
    while line := file.readline(LONGEST):
        if len(line) < LONGEST or line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield b""
