"""Sums trace lines into the figures of a table of scores, as a training logs them."""

from collections import Counter
from dataclasses import dataclass, field

from rlkd_plugin.engines.trace import TraceRow
from rlkd_plugin.gsrm import FIELDS


@dataclass
class Figures:
    """Sums over the lines so far; the means are those of `engines.tally.metrics_of`.

    Attributes:
        rows: lines.
        valued: lines with a reward; there is none where the teacher has no structure.
        rewards: sum of the rewards.
        shares: sum of r / n, of the teacher's n steps.
        depths: sum of the matched depths.
        reached: steps that were reached.
        matched: reached steps that match, by field.
        counts: lines by property: `undecomposable`, `refused`, `cut_off`, `no_teacher`,
            `other_branch`, `beyond_teacher`.
    """

    rows: int = 0
    valued: int = 0
    rewards: float = 0.0
    shares: float = 0.0
    depths: int = 0
    reached: int = 0
    matched: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, row: TraceRow) -> None:
        """Count a line."""
        self.rows += 1
        if row.reward is not None:
            self.valued += 1
            self.rewards += row.reward
            self.shares += row.total / len(row.teacher.steps)
        self.depths += sum(score > 0 for score in row.step_scores)
        self.reached += len(row.step_scores)
        self.matched.update(verdict.field for verdict in row.verdicts if verdict.matched)
        self.counts.update(
            name
            for name, is_so in (
                ("undecomposable", row.student.status == "undecomposable"),
                ("refused", is_refused(row)),
                ("cut_off", row.cut_off),
                ("no_teacher", not row.teacher.steps),
                ("other_branch", row.branch > 0),
                ("beyond_teacher", row.beyond_teacher),
            )
            if is_so
        )

    @property
    def mean_reward(self) -> float | None:
        """The mean of the rewards, None without one."""
        return self.rewards / self.valued if self.valued else None

    @property
    def mean_share(self) -> float | None:
        """The mean of r / n, None without a reward."""
        return self.shares / self.valued if self.valued else None

    @property
    def mean_depth(self) -> float | None:
        """The mean matched depth of all lines, None without one."""
        return self.depths / self.rows if self.rows else None

    def matched_share(self, name: str) -> float | None:
        """Return the share of the steps reached at which a field matched, None without a step."""
        assert name in FIELDS
        return self.matched[name] / self.reached if self.reached else None


def is_refused(row: TraceRow) -> bool:
    """Return whether a model rejected the completion's path, or a question about its steps."""
    return row.student.status == "refused" or any(
        verdict.source == "refused" for verdict in row.verdicts
    )
