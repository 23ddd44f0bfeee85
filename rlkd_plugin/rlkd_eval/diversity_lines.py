"""The lines of `responses.jsonl` and `structures.jsonl`, as the job writes and reads them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from rlkd_plugin.gsrm import FormatError, RlkdError, Step
from rlkd_plugin.rlkd_data.jobs.result_file import identity
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_files import json_lines


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What a line is of: the `sample`-th response to a problem, from 0 on."""

    problem: str
    domain: str
    sample: int

    @property
    def key(self) -> int:
        """What tells this response from all others."""
        return identity(self.problem, str(self.sample))

    def line(self) -> Row:
        """Return the line."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Response(Sampled):
    """A response, the thinking that its server delivers apart, and whether it was cut off."""

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
    if not file.exists():
        return
    for number, row in json_lines(file):
        try:
            if isinstance(row, FormatError):
                raise row
            line = msgspec.convert(row, kind)
        except (FormatError, msgspec.ValidationError) as error:
            raise RlkdError(
                f"{file}:{number} is no line of this job: {error}; name a new folder, or remove "
                "the line"
            ) from None
        yield line
