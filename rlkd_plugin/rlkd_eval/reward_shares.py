"""Each reward's share of the advantage's variance inside groups; pure functions of numbers.

A group is the completions of one prompt in one step. ms-swift adds a completion's weighted rewards,
R = sum of w_k r_k, and makes its advantage of R less the group's mean. `scale_rewards` divides that
by one number for the group or the batch, or by none. So in a group the share of reward k is
cov(w_k r_k, R) / var(R), and the shares add up to 1. A share is negative where a reward works
against the sum of the others. Under `gdpo` ms-swift normalises each reward in its group before the
sum; then w_k r_k is the normalised one.

Groups are pooled by the variance of the advantages that the run logged, so each counts as much as
it did in the training. A group whose completions have equal sums teaches nothing, and counts
nothing. Not here: what is added token by token, such as the KL to a teacher model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import StatisticsError, covariance, fmean, stdev

from rlkd_plugin.gsrm import FormatError

FLAT = 1e-6
"""Largest relative difference of sums that is a rounding error of float32."""
PROPORTIONAL = 0.999
"""Least correlation of a group's advantages with its sums: one is a multiple of the other."""
GDPO_EPSILON = 1e-8
"""Constant that ms-swift adds to a reward's standard deviation before it divides."""


@dataclass(frozen=True)
class Group:
    """The completions of one prompt in one step.

    Attributes:
        rewards: by name, one number a completion; None where the reward gave none.
        advantages: one a completion.
    """

    rewards: Mapping[str, Sequence[float | None]]
    advantages: Sequence[float]


@dataclass(frozen=True)
class Spread:
    """The advantage's variance inside groups, and the part of it that comes from each reward.

    Attributes:
        groups: whose completions differ in advantage.
        variance: summed over these groups.
        parts: by reward; they add up to the variance.
    """

    groups: int
    variance: float
    parts: Mapping[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Each reward's part as a share of the variance."""
        return {name: part / self.variance for name, part in self.parts.items()}


def spread_of(group: Group, weights: Sequence[float], is_gdpo: bool = False) -> Spread | None:
    """Return the spread of one group, or None where its completions do not differ.

    Args:
        group: the completions.
        weights: of the rewards, in their order.
        is_gdpo: whether each reward is normalised in the group before it is weighted.

    Raises:
        FormatError: if the advantages are not a multiple of the weighted rewards' sum.
    """
    parts = {
        name: [
            weight * value for value in (_normalise(rewards) if is_gdpo else _fill_zeros(rewards))
        ]
        for (name, rewards), weight in zip(group.rewards.items(), weights, strict=True)
    }
    sums = [sum(values) for values in zip(*parts.values(), strict=True)]
    largest = max(abs(value) for part in parts.values() for value in part)
    if max(sums) - min(sums) <= FLAT * largest:
        return None
    of_sums = covariance(sums, sums)
    variance = covariance(group.advantages, group.advantages)
    common = covariance(sums, group.advantages)
    if variance == 0 or common < PROPORTIONAL * sqrt(of_sums * variance):
        raise FormatError("the advantages are not those of the weighted rewards alone")
    scale = variance / of_sums
    return Spread(1, variance, {k: scale * covariance(part, sums) for k, part in parts.items()})


def pool(spreads: Iterable[Spread]) -> Spread | None:
    """Return the spread of all groups together, or None where there is none."""
    found = list(spreads)
    if not found:
        return None
    names = found[0].parts
    parts = {name: sum(spread.parts[name] for spread in found) for name in names}
    return Spread(
        sum(spread.groups for spread in found), sum(spread.variance for spread in found), parts
    )


def _fill_zeros(rewards: Sequence[float | None]) -> list[float]:
    """Return rewards with 0 for None, as ms-swift's nansum counts it."""
    return [reward or 0.0 for reward in rewards]


def _normalise(rewards: Sequence[float | None]) -> list[float]:
    """Return a group's rewards minus their mean, over their standard deviation; 0 for None."""
    known = [reward for reward in rewards if reward is not None]
    try:
        mean, deviation = fmean(known), stdev(known) + GDPO_EPSILON
    except StatisticsError:  # fewer than two numbers have no deviation: NaN, and then 0
        return [0.0] * len(rewards)
    return [0.0 if reward is None else (reward - mean) / deviation for reward in rewards]
