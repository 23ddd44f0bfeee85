"""What ms-swift writes of a run's completions and options, for tests of the rewards' shares."""

import json
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tests.support.report_folders import write_lines

Rewards = Mapping[str, Sequence[float | None]]

EPSILON = 1e-4
"""What ms-swift adds to a group's standard deviation."""


def scaled(sums: Sequence[float], size: int) -> list[float]:
    """Return the advantages of sums of rewards, group by group, as `scale_rewards: group` does."""
    advantages = []
    for start in range(0, len(sums), size):
        group = sums[start : start + size]
        mean, deviation = fmean(group), stdev(group) + EPSILON
        advantages += [(one - mean) / deviation for one in group]
    return advantages


def table(step: int, rewards: Rewards, size: int, **changed: Any) -> dict[str, Any]:
    """Return a step's table of groups of this size; all weights are 1.

    None counts 0, and is written as ms-swift does: NaN.
    """
    sums = [sum(x or 0.0 for x in row) for row in zip(*rewards.values(), strict=True)]
    count = len(sums)
    return {
        "step": [str(step)] * count,
        "prompt": [f"problem {i // size} of step {step}" for i in range(count)],
        "completion": [f"completion {i}" for i in range(count)],
        **{name: [nan if x is None else x for x in column] for name, column in rewards.items()},
        "advantages": scaled(sums, size),
        "solution": ["42"] * count,
        **changed,
    }


def write_tables(folder: Path, tables: Sequence[Any], size: int, **options: Any) -> None:
    """Write `completions.jsonl` and `args.json`; a text among the tables is a line as it is."""
    write_lines(folder / "completions.jsonl", tables)
    args = {"num_generations": size, "reward_weights": None, "scale_rewards": "group", **options}
    (folder / "args.json").write_text(json.dumps(args))
