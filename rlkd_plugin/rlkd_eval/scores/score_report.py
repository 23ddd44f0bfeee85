"""The counts of `rlkd score`, at any time of the job."""

from collections import Counter
from dataclasses import dataclass, field

from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_eval.scores.figures import Figures


@dataclass
class ScoreReport:
    """The counts of this run of the job.

    Attributes:
        read: completions that were read; a row that cannot be read counts as one.
        scored: completions that this run scored.
        refused: completions that cannot be scored, by reason.
        done_before: completions that were scored before the job was stopped.
        repeated: completions of tables that ms-swift wrote twice.
        left_over: lines in OUT of completions that are not in the source, known at the end.
        passed: rows of the source that need no more work.
        total: completions of the source.
        figures: of all lines in OUT.
    """

    read: int = 0
    scored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    repeated: int = 0
    left_over: int = 0
    passed: int = 0
    total: int = 0
    figures: Figures = field(default_factory=Figures)

    @property
    def account(self) -> Account:
        """The account of all completions that were read."""
        parts = {
            "scored": self.scored,
            "done before": self.done_before,
            "refused": self.refused.total(),
            "of tables that were written twice": self.repeated,
        }
        return Account(self.read, parts)
