"""What `rlkd subset` finds: the counts of the rows, both ends, and the test items in the source."""

from collections import Counter
from dataclasses import dataclass, field

from rlkd_plugin.rlkd_data.jobs.account import Account

NEAR = 0.95
"""Problems of at least this cosine to a test item are reported."""


@dataclass(frozen=True)
class Similar:
    """A row's similarity to the test item that is nearest to it, and both problems."""

    similarity: float
    problem: str
    test_problem: str


@dataclass
class SubsetReport:
    """What the job found.

    Attributes:
        rows: of the source.
        refused: rows that have no problem to compare, or cannot be read, by reason.
        problems: different problems of the others.
        measured_before: problems that this job measured before it was stopped.
        measured: problems measured by this run.
        rejected: problems that the embedding server rejects; they are not chosen.
        written: rows in the result.
        least: the rows that are least similar, from the first on.
        most: the rows that are most similar, from the first on.
        exact: rows whose problem is a test item's, but for case, spaces and punctuation.
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
        """What became of every row that was read, as if each problem stood in one row."""
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
