"""The values in results: numbers with their ranges, intervals, labels.

A file with a number out of its range is rejected when it is read. The files themselves are in
`results` and in `comparison`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Positive = Annotated[int, Meta(ge=1, le=10**12)]
Place = Annotated[int, Meta(ge=1, le=100_000)]
Score = Annotated[float, Meta(gt=0, le=1e6)]
Cosine = Annotated[float, Meta(ge=-1, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e6)]
Signed = Annotated[float, Meta(ge=-1e6, le=1e6)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


def check_ends(low: float, high: float) -> None:
    """Check the ends of an interval.

    Raises:
        ValueError: if the lower one is above the upper one.
    """
    if low > high:
        raise ValueError(f"an interval from {low} to {high}: its ends are swapped")


@dataclass(frozen=True)
class Interval:
    """A share with its 95% interval."""

    value: Share
    low: Share
    high: Share

    def __post_init__(self) -> None:
        check_ends(self.low, self.high)


@dataclass(frozen=True)
class Measure:
    """A mean of at least 0 with its 95% interval, in the unit that its field names."""

    value: Amount
    low: Amount
    high: Amount

    def __post_init__(self) -> None:
        check_ends(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A result with a label for tables."""

    label: str


Result = TypeVar("Result", bound=Labelled)


def distinguish(named: Sequence[tuple[str, Result]]) -> list[Result]:
    """Return the results with distinct labels: equal ones get the name of their folder.

    Args:
        named: results, each with the name of its folder.
    """
    labels = Counter(result.label for _, result in named)
    return [
        replace(result, label=f"{result.label} ({name})") if labels[result.label] > 1 else result
        for name, result in named
    ]
