"""The lines of `responses.jsonl` and `structures.jsonl`, as the job writes and reads them."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from rlkd_plugin.gsrm import RlkdError, Step
from rlkd_plugin.rlkd_data.jobs.result_lines import ANY, identity, read_lines
from rlkd_plugin.rlkd_data.rows.row_files import Row


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The response that a line is about: the `sample`-th to a problem, from 0 on."""

    problem: str
    domain: str
    sample: int

    @property
    def key(self) -> int:
        """The identity of this response."""
        return identity(self.problem, str(self.sample))

    def line(self) -> Row:
        """Return the line."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Response(Sampled):
    """A response, the thinking that its server returns separately, and whether it was cut off."""

    response: str
    thinking: str = ""
    cut_off: bool = False


@dataclass(frozen=True, kw_only=True)
class Decomposed(Sampled):
    """A response's steps; `status`, `clipped` and `cut` as `Decomposition` has them."""

    status: str
    clipped: bool = False
    cut: bool = False
    steps: tuple[Step, ...] = ()


Line = TypeVar("Line", Response, Decomposed)


def read_kept_lines(file: Path, kind: type[Line]) -> Iterator[Line]:
    """Yield the lines of a file; none where there is no file.

    Raises:
        RlkdError: at a line of another shape; the message names file and line.
    """
    if file.exists():
        yield from convert_lines(file, read_lines(file, ANY), kind)


def convert_lines(file: Path, rows: Iterable[Row], kind: type[Line]) -> Iterator[Line]:
    """Yield the rows of a file as their class.

    Raises:
        RlkdError: at a row of another shape; the message names the file and the row's place.
    """
    for number, row in enumerate(rows, start=1):
        try:
            line = msgspec.convert(row, kind)
        except msgspec.ValidationError as error:
            raise RlkdError(
                f"{file}:{number} is not a line of this job: {error}; name a new folder, or remove "
                "the line"
            ) from None
        yield line
