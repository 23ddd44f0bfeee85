"""The report of `rlkd subset`: counts, the least and most similar rows, test items found."""

from collections import Counter
from dataclasses import dataclass, field

from rlkd_plugin.rlkd_data.jobs.account import Account

NEAR = 0.95
"""Minimum cosine to a test item at which a problem is reported."""


@dataclass(frozen=True)
class Similar:
    """A row's similarity to the test item that is nearest to it, and both problems."""

    similarity: float
    problem: str
    test_problem: str


@dataclass
class SubsetReport:
    """Counts and findings of the job.

    Attributes:
        rows: of the source.
        refused: rows that have no problem to compare, or cannot be read, by reason.
        problems: different problems of the other rows.
        measured_before: problems measured by earlier runs.
        measured: problems measured by this run.
        rejected: problems that the embedding server rejects; they are not chosen.
        written: rows in the result.
        least: the least similar rows, the least first.
        most: the most similar rows, the most first.
        exact: rows whose problem equals a test item's, except for case, spaces and punctuation.
        near: other rows of at least `NEAR` similarity.
    """

    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    measured_before: int = 0
    rejected: int = 0
    measured: int = 0
    written: int = 0
    least: list[Similar] = field(default_factory=list)
    most: list[Similar] = field(default_factory=list)
    exact: list[Similar] = field(default_factory=list)
    near: list[Similar] = field(default_factory=list)

    @property
    def without_problem(self) -> int:
        """Rows that are refused."""
        return self.refused.total()

    @property
    def account(self) -> Account:
        """The outcome of every row that was read, with each problem counted as one row."""
        parts = {
            "measured": self.measured,
            "refused": self.without_problem,
            "duplicates": self.rows - self.without_problem - self.problems,
            "done before": self.measured_before,
            "rejected by a server": self.rejected,
        }
        return Account(self.rows, parts)

    @property
    def passed(self) -> int:
        """Rows that need no more work."""
        return sum(self.account.parts.values())
