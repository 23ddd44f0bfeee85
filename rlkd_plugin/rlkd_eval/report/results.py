"""What an evaluation and a measurement of diversity left, as typed values: reads, and no more."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rlkd_plugin.gsrm import RlkdError

EVALUATION = "eval.json"
DIVERSITY = "diversity.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PassAtK:
    """pass@k: as the paper takes it (`any` of the first k), and its unbiased estimate.

    `low` and `high` are the 95% interval of the estimate.
    """

    any: float
    unbiased: float
    low: float
    high: float


@dataclass(frozen=True)
class SetResult:
    """A model's result on one test set; shares in [0, 1], `pass_at_k` by k as text."""

    name: str
    problems: int
    samples: int
    pass_at_1: Interval
    pass_at_k: dict[str, PassAtK] = field(default_factory=dict)
    cut_off: float = 0.0

    def curve(self) -> list[tuple[int, Interval]]:
        """Return pass@k over k, with pass@1 first."""
        later = [
            (int(k), Interval(p.unbiased, p.low, p.high))
            for k, p in self.pass_at_k.items()
            if k.isdecimal() and int(k) > 1
        ]
        return [(1, self.pass_at_1), *sorted(later, key=lambda point: point[0])]


@dataclass(frozen=True)
class Evaluation:
    """One evaluated model; `run` and `step` name the training that it is a checkpoint of."""

    label: str
    sets: dict[str, SetResult]
    model: str = ""
    step: int | None = None
    run: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DiversityStep:
    """The diversity of the responses' i-th steps, over the questions that reach so far."""

    step: int
    diversity: float
    questions: int
    responses: int


@dataclass(frozen=True)
class Diversity:
    """How much a model's responses to a question differ, step by step (Figure 5)."""

    label: str
    steps: tuple[DiversityStep, ...]
    samples: int = 0
    temperature: float | None = None
    embedding: str = ""
    questions: int = 0


def read_result(path: Path, kind: type[T]) -> T:
    """Read a file of one JSON value.

    Raises:
        RlkdError: if it is no JSON, or lacks what `kind` needs.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RlkdError(f"{path.name} is not readable: {error}") from None
