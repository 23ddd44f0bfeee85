"""Reads a folder of `rlkd score` for a report: its figures, mean reward and maker."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import Facts, read_record, record_file
from rlkd_plugin.rlkd_eval.result_values import Measure
from rlkd_plugin.rlkd_eval.scores.figures import Figures
from rlkd_plugin.rlkd_eval.scores.score_lines import TRACE


@dataclass
class ProblemRewards:
    """The number of a problem's completions with a reward, and the sum of their rewards."""

    count: int = 0
    total: float = 0.0


@dataclass
class Scored:
    """The lines of a folder so far.

    Attributes:
        figures: of all lines.
        problems: the rewards by problem; a problem without any is not in it.
    """

    figures: Figures = field(default_factory=Figures)
    problems: dict[str, ProblemRewards] = field(default_factory=lambda: defaultdict(ProblemRewards))

    def add(self, row: TraceRow) -> None:
        """Count a line."""
        self.figures.add(row)
        if row.reward is not None:
            problem = self.problems[row.problem]
            problem.count += 1
            problem.total += row.reward

    def interval(self, draws: int = 1000, seed: int = 0) -> Measure | None:
        """Return the mean reward with its 95% interval: a percentile bootstrap over problems.

        Problems are the units: completions of one problem say nothing about other problems.

        Args:
            draws: sets of problems drawn.
            seed: of the draws.

        Returns:
            The mean of all rewards; None with fewer than two problems.
        """
        mean, size = self.figures.mean_reward, len(self.problems)
        if mean is None or size < 2:
            return None
        counts = np.array([one.count for one in self.problems.values()])
        totals = np.array([one.total for one in self.problems.values()])
        chance = np.random.default_rng(seed)
        means = []
        for _ in range(draws):
            drawn = chance.integers(size, size=size)
            means.append(totals[drawn].sum() / counts[drawn].sum())
        low, high = np.percentile(means, (2.5, 97.5))
        return Measure(mean, float(low), float(high))


def read_maker(folder: Path) -> tuple[Facts | None, list[str]]:
    """Return the settings of the scores in a folder, None if unknown, and remarks."""
    place = record_file(folder / TRACE)
    try:
        record = read_record(place)
    except RlkdError as error:
        return None, [str(error)]
    if record is None:
        return None, [f"there is no {place.name}: the settings of the scores are not known"]
    is_open = "`rlkd score` is still running, or was stopped before its end"
    return record.last(), [] if record.is_done else [is_open]
