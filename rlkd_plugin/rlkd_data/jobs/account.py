"""The account of a job: every row that it read is in one of the parts, and in one alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from rlkd_plugin.gsrm import RlkdError


@dataclass(frozen=True)
class Account:
    """What became of the rows of a source.

    Attributes:
        read: rows that were read, blank lines left out.
        parts: how many of them ended how; what a user calls it, and the number.
    """

    read: int
    parts: Mapping[str, int]

    @property
    def in_work(self) -> int:
        """Rows that were read and have not ended; of a job that was stopped the next run's."""
        return self.read - sum(self.parts.values())

    def line(self) -> str:
        """Return the account as a sum; parts without a row are left out."""
        parts = {**self.parts, "in work, for the next run": self.in_work}
        shown = [_counted(number, name) for name, number in parts.items() if number]
        return f"{_counted(self.read, 'rows')} read = {' + '.join(shown) or '0'}"

    def check(self) -> None:
        """Check that no row of a job that is done is missing, and none was counted twice.

        Raises:
            RlkdError: if so; it is a fault of the job, not of its user.
        """
        if self.in_work:
            raise RlkdError(
                f"the account does not balance: {self.line()}; please report this, with the "
                "command and the output"
            )


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name.removesuffix('s') if number == 1 else name}"
