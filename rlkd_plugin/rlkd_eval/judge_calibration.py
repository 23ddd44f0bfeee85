"""Finds a judge's best threshold, and the effect of asking both ways, from verdicts on pairs.

Pure. Not here: the pairs and the requests to the judge (`judge_check`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.prompted_engine import verdict_of_both
from rlkd_plugin.rlkd_eval.judge_check import Pair

CLEAR = 2.0
"""Standard deviations above which a difference of two shares of the same pairs is significant."""
MOST_DIGITS = 17
"""Digits that distinguish any two numbers."""


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The threshold at which most verdicts are right, and the share that is right there."""

    value: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class SwapEffect:
    """The effect of swapping teacher and student on a judge's verdicts.

    Attributes:
        changed: the share of verdicts that the order decides.
        mean_change: of the probability of yes, without sign; None where no pair has both.
        one_way: the share of right verdicts on the pairs in their order.
        other_way: the same with teacher and student swapped.
        both_ways: the same of the mean of both.
        gained: wrong one way, right by the mean; as a mean of the two ways.
        lost: right one way, wrong by the mean; as a mean of the two ways.
    """

    changed: float
    mean_change: float | None
    one_way: float
    other_way: float
    both_ways: float
    gained: float
    lost: float

    @property
    def pays(self) -> bool:
        """Whether the mean of both ways is clearly better than one way (McNemar's test)."""
        gain = self.gained - self.lost
        return gain > 0 and gain >= CLEAR * math.sqrt(self.gained + self.lost)


def accuracy_at(pairs: Sequence[Pair], verdicts: Sequence[Verdict], threshold: float) -> float:
    """Return the share of right verdicts at a threshold; one without a probability is kept."""
    both = list(zip(pairs, verdicts, strict=True))
    right = [
        pair.match
        == (verdict.matched if verdict.probability is None else verdict.probability >= threshold)
        for pair, verdict in both
    ]
    return sum(right) / len(right)


def best_threshold(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> BestThreshold | None:
    """Return the threshold that is best on the pairs; None where no verdict has a probability.

    Between two neighbouring probabilities no verdict changes. Of the intervals with the most right
    verdicts the widest is chosen, then the one nearest to 0.5. The threshold is its middle, with as
    few digits as keep the value inside.
    """
    both = list(zip(pairs, verdicts, strict=True))
    known = sorted((v.probability, p.match) for p, v in both if v.probability is not None)
    if not known:
        return None
    fixed = sum(p.match == v.matched for p, v in both if v.probability is None)
    right = fixed + sum(match for _, match in known)  # at a threshold below all: yes to all
    edges = sorted({0.0, 1.0, *(probability for probability, _ in known)})
    found: list[tuple[int, float, float, float]] = []
    done = 0
    for low, high in pairwise(edges):
        while done < len(known) and known[done][0] <= low:
            right += -1 if known[done][1] else 1  # now it says no to this pair
            done += 1
        middle = _short_middle(low, high)
        if low < middle <= high and middle < 1:
            found.append((right, high - low, -abs(middle - 0.5), middle))
    best = max(found)
    return BestThreshold(best[-1], best[0] / len(both))


def swap_effect(
    pairs: Sequence[Pair],
    one: Sequence[Verdict],
    other: Sequence[Verdict],
    mean: Sequence[Verdict],
) -> SwapEffect:
    """Return the effect of the order of teacher and student.

    Args:
        pairs: with the right verdicts.
        one: the verdicts on the pairs in their order.
        other: those with teacher and student swapped.
        mean: those by the mean of both.
    """
    count = len(pairs)
    changes = [
        abs(a.probability - b.probability)
        for a, b in zip(one, other, strict=True)
        if a.probability is not None and b.probability is not None
    ]
    right = [
        [pair.match == verdict.matched for pair, verdict in zip(pairs, verdicts, strict=True)]
        for verdicts in (one, other, mean)
    ]
    ways = [(a, both) for way in right[:2] for a, both in zip(way, right[2], strict=True)]
    return SwapEffect(
        changed=sum(a.matched != b.matched for a, b in zip(one, other, strict=True)) / count,
        mean_change=sum(changes) / len(changes) if changes else None,
        one_way=sum(right[0]) / count,
        other_way=sum(right[1]) / count,
        both_ways=sum(right[2]) / count,
        gained=sum(both and not way for way, both in ways) / 2,
        lost=sum(way and not both for way, both in ways) / 2,
    )


def _short_middle(low: float, high: float) -> float:
    """Return the middle of an interval, with as few digits as keep it between the ends."""
    middle = low + (high - low) / 2
    for digits in range(1, MOST_DIGITS + 1):
        short = float(f"{middle:.{digits}g}")
        if low + (high - low) / 4 <= short <= high - (high - low) / 4:
            return short
    return middle


def mean_verdict(one: Verdict, other: Verdict, threshold: float) -> Verdict:
    """Return the verdict of both ways of asking, as with `RLKD_JUDGE_SWAP`."""
    return one if one.source == "rule" else verdict_of_both(one, other, threshold)
