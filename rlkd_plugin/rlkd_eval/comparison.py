"""The schema of `comparison.json`, the result of a comparison of training methods.

A user's own study writes these classes (`examples/miniature` does), and the report reads them. As
in `results`, a file of another version is read, and impossible values are rejected.
"""

from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.rlkd_eval.kept_files import read_kept
from rlkd_plugin.rlkd_eval.paired import Difference
from rlkd_plugin.rlkd_eval.result_values import Count, Labelled, Positive, Seconds

COMPARISON = "comparison.json"

SHARE = "share"
"""The unit of shares, whose differences are shown in percentage points."""


@dataclass(frozen=True, kw_only=True)
class ArmDifference:
    """The difference of two arms (two ways to train) in one measure on one test set.

    Attributes:
        test_set: its name for tables.
        measure: such as pass@1 or the structure reward.
        unit: of the measure: `share`, or another one such as steps.
        first: the arm whose mean is taken.
        second: the arm whose mean is subtracted.
        seeds: trainings of each arm.
        problems: of the test set.
        difference: first less second, in the unit of the measure.
    """

    test_set: str
    measure: str
    unit: str = SHARE
    first: str
    second: str
    seeds: Positive
    problems: Positive
    difference: Difference

    def __post_init__(self) -> None:
        ends = self.difference.value, self.difference.low, self.difference.high
        if self.unit == SHARE and max(map(abs, ends)) > 1:
            raise ValueError(f"shares that differ by more than 1: {ends}")

    @property
    def pair(self) -> str:
        """The difference in words."""
        return f"{self.first} − {self.second}"  # noqa: RUF001 - a minus sign


@dataclass(frozen=True, kw_only=True)
class ArmCost:
    """The cost of an arm's training, for one seed.

    Attributes:
        arm: its name.
        steps: of the optimizer.
        seconds: of wall time.
        completions: that were drawn.
        tokens_generated: in them.
        tokens_trained: with a loss, counted once for each time.
        note: for the reader.
    """

    arm: str
    steps: Count
    seconds: Seconds
    completions: Count
    tokens_generated: Count
    tokens_trained: Count
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison(Labelled):
    """A comparison of arms over problems and seeds, `comparison.json`.

    Attributes:
        about: sentences on what it shows, and what it does not.
        differences: the results.
        costs: of the arms.
    """

    about: tuple[str, ...] = ()
    differences: tuple[ArmDifference, ...]
    costs: tuple[ArmCost, ...] = ()

    def __post_init__(self) -> None:
        if not self.differences:
            raise ValueError("it has no difference")
        compared = {(d.test_set, d.measure, d.unit, d.first, d.second) for d in self.differences}
        if len(compared) < len(self.differences):
            raise ValueError("it has a difference twice")
        if len({cost.arm for cost in self.costs}) < len(self.costs):
            raise ValueError("it has the cost of an arm twice")


def read_comparison(folder: Path) -> Comparison:
    """Read the result of a comparison.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    return read_kept(folder, COMPARISON, Comparison, "comparison")
