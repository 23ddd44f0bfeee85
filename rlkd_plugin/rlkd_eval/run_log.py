"""Reads ms-swift's log of a GRPO run, `logging.jsonl`: one record a step."""

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_files import json_object, numbered_lines

LOG = "logging.jsonl"
MOST_DIGITS = 15
"""Maximum digits of a step's number; a longer one is not a step."""
LARGEST = sys.float_info.max
"""The largest float; an integer of JSON may be larger."""

COLUMNS = {
    "reward": "reward",
    "structure": "rlkd/structure_reward",
    "depth": "rlkd/matched_depth",
    "accuracy": "rewards/MathAccuracy/mean",
    "zero_spread": "frac_reward_zero_std",
    "seconds": "step_time",
}
"""The values of a step, and the keys under which ms-swift logs them."""
REWARD_MEAN = re.compile(r"rewards/(.+)/mean")
"""The keys under which ms-swift logs the mean of each reward."""


@dataclass(frozen=True)
class StepRecord:
    """One logged step; None where the log has no number.

    `spread` is the share of groups whose completions differ in reward: the others teach nothing.
    """

    step: int
    reward: float | None
    structure: float | None
    depth: float | None
    accuracy: float | None
    spread: float | None
    seconds: float | None


@dataclass(frozen=True)
class Run:
    """A run's folder, its steps in order, its traces, and remarks on what the log lacks.

    `rewards` are the names of its rewards, as the log has them.
    """

    folder: Path
    steps: tuple[StepRecord, ...]
    traces: tuple[Path, ...]
    remarks: tuple[str, ...]
    rewards: tuple[str, ...] = ()


def read_run(folder: Path) -> Run:
    """Read a run's folder, or the newest `v*-*` run in it.

    Raises:
        RlkdError: if there is no log, or no step of a GRPO run in it.
    """
    folder = run_folder(folder)
    entries, broken = log_entries(folder / LOG)
    steps, missing = grpo_steps(entries)
    if not steps:
        raise RlkdError(
            f"{folder / LOG} has no step with a reward; wait for the first step of the GRPO run"
        )
    traces = tuple(sorted(folder.glob("rlkd_trace_rank*.jsonl")))
    return Run(folder, tuple(steps), traces, (*broken, *missing), reward_names(entries))


def run_folder(folder: Path) -> Path:
    """Return the folder that holds the log: this one, or its newest `v*-*` sub-folder.

    Raises:
        RlkdError: if there is none, or the newest one has no log.
    """
    if not folder.is_dir():
        raise RlkdError(f"there is no folder {folder}")
    if (folder / LOG).is_file():
        return folder
    # ms-swift counts the runs of an output_dir: v0-DATE, v1-DATE, ... v10-DATE
    runs = [(int(m[1]), p) for p in folder.glob("v*-*") if (m := re.match(r"v(\d+)-", p.name))]
    if not runs:
        raise RlkdError(f"{folder} has neither a {LOG} nor a run v*-* with one")
    newest = max(runs)[1]
    if not (newest / LOG).is_file():
        raise RlkdError(f"{newest}, the newest run, has no {LOG}: it has logged no step yet")
    return newest


def series(run: Run, value: str) -> list[tuple[int, float]]:
    """Return (step, number) for each step whose record has this value."""
    pairs = ((record.step, getattr(record, value)) for record in run.steps)
    return [(step, number) for step, number in pairs if number is not None]


def log_entries(log: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the entries of a log, and a remark on the broken lines that are skipped, if any."""
    entries: list[dict[str, Any]] = []
    broken: list[str] = []
    for number, line in numbered_lines(log):
        text = line.decode("utf-8", errors="replace")  # a bad byte costs no step
        try:
            entries.append(json_object(text.encode()))
        except FormatError:  # half a line that a kill leaves, for example
            broken.append(str(number))
    remark = f"not whole JSON, skipped: line {', '.join(broken)}"
    return entries, [remark] if broken else []


def grpo_steps(entries: Iterable[Mapping[str, Any]]) -> tuple[list[StepRecord], list[str]]:
    """Return the steps of a log in order, and remarks on missing values.

    Of a step that was logged twice (in a resumed run) the last entry counts.
    """
    remarks: list[str] = []
    steps: dict[int, StepRecord] = {}
    for entry in entries:
        if "reward" in entry and (step := step_of(entry)) is not None:
            steps[step] = _record(step, entry)
    for name, key in COLUMNS.items():
        column = "spread" if name == "zero_spread" else name
        if steps and all(getattr(record, column) is None for record in steps.values()):
            hint = " (add `--callbacks rlkd_metrics`)" if key.startswith("rlkd/") else ""
            remarks.append(f"the log has no {key}{hint}")
    return [steps[step] for step in sorted(steps)], remarks


def reward_names(entries: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the rewards in a log, in the order of their first entries."""
    found = (REWARD_MEAN.fullmatch(key) for entry in entries for key in entry)
    return tuple(dict.fromkeys(match[1] for match in found if match))


def step_of(entry: Mapping[str, Any]) -> int | None:
    """Return the optimizer step of a log line, or None where it has none."""
    step = str(entry.get("global_step/max_steps", "")).partition("/")[0]
    return int(step) if step.isdecimal() and len(step) <= MOST_DIGITS else None


def _record(step: int, entry: Mapping[str, Any]) -> StepRecord:
    values = {name: number_of(entry.get(key)) for name, key in COLUMNS.items()}
    zero_spread = values.pop("zero_spread")
    return StepRecord(step, spread=None if zero_spread is None else 1 - zero_spread, **values)


def number_of(value: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if not isinstance(value, (int, float)) or abs(value) > LARGEST:
        return None
    return float(value) if math.isfinite(value) else None
