"""The account of a job: every row that it read is in exactly one of the parts."""

from collections.abc import Mapping
from dataclasses import dataclass

from rlkd_plugin.gsrm import RlkdError


@dataclass(frozen=True)
class Account:
    """The outcome of the rows of a source.

    Attributes:
        read: rows that were read, without blank lines.
        parts: number of rows by outcome, named as the user sees it.
    """

    read: int
    parts: Mapping[str, int]

    @property
    def in_work(self) -> int:
        """Rows that were read and are not finished; after a stop the next run does them."""
        return self.read - sum(self.parts.values())

    def line(self) -> str:
        """Return the account as a sum, without empty parts."""
        parts = {**self.parts, "in work, for the next run": self.in_work}
        shown = [_format_count(number, name) for name, number in parts.items() if number]
        return f"{_format_count(self.read, 'rows')} read = {' + '.join(shown) or '0'}"

    def check(self) -> None:
        """Check that a finished job counted every row once.

        Raises:
            RlkdError: if it did not, which is a bug of the job.
        """
        if self.in_work:
            raise RlkdError(
                f"the account does not balance: {self.line()}; please report this, with the "
                "command and the output"
            )


def _format_count(number: int, name: str) -> str:
    return f"{number:,} {name.removesuffix('s') if number == 1 else name}"
