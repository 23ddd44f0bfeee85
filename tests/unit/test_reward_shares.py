"""Each reward's share of the advantage's variance, with sums worked out by hand."""

import random
from collections.abc import Sequence

import pytest

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_eval.reward_shares import Group, Spread, pool, spread_of


def group(*rewards: Sequence[float | None], advantages: Sequence[float] = ()) -> Group:
    """Return a group whose advantages are the sums of its rewards, or those that are given."""
    sums = [sum(x or 0.0 for x in row) for row in zip(*rewards, strict=True)]
    names = "ABCD"[: len(rewards)]
    return Group(dict(zip(names, rewards, strict=True)), advantages or sums)


def shares(one: Group, *weights: float, is_gdpo: bool = False) -> dict[str, float]:
    spread = spread_of(one, weights or [1.0] * len(one.rewards), is_gdpo)
    assert spread is not None
    return spread.shares


def test_a_reward_without_spread_has_no_share() -> None:
    assert shares(group([1, 1, 1, 1], [0, 1, 2, 5])) == pytest.approx({"A": 0, "B": 1})


def test_ten_times_the_range_is_nearly_all() -> None:
    # the two are uncorrelated, and their variances are as 1 to 100
    assert shares(group([0, 1, 0, 1], [0, 0, 10, 10])) == pytest.approx(
        {"A": 1 / 101, "B": 100 / 101}
    )


def test_a_weight_counts_as_a_range_does() -> None:
    one = group([0, 1, 0, 1], [0, 0, 1, 1], advantages=[0, 3, 1, 4])
    # variances as 9 to 1
    assert shares(one, 3.0, 1.0) == pytest.approx({"A": 0.9, "B": 0.1})


def test_equal_rewards_share_alike() -> None:
    assert shares(group([0, 1, 3], [0, 1, 3])) == pytest.approx({"A": 0.5, "B": 0.5})


def test_a_reward_that_speaks_against_the_sum_has_a_negative_share() -> None:
    # A is 0, 1 and B is 2, 0, so the sum is 2, 1. Around the means A is -1/2, 1/2, B is 1, -1 and
    # the sum 1/2, -1/2: A's products with it add up to -1/2, B's to 1, the sum's to 1/2
    assert shares(group([0, 1], [2, 0])) == pytest.approx({"A": -1, "B": 2})


def test_shares_add_up_to_1() -> None:
    draw = random.Random(0)
    for _ in range(200):
        rewards = [[draw.choice([None, 0, draw.gauss(0, 3)]) for _ in range(8)] for _ in range(4)]
        assert sum(shares(group(*rewards)).values()) == pytest.approx(1)


def test_a_group_that_does_not_differ_has_no_spread() -> None:
    assert spread_of(group([1, 1], [0.5, 0.5]), [1, 1]) is None
    assert spread_of(group([0, 1], [1, 0]), [1, 1]) is None  # the sums are equal
    assert spread_of(group([0, 0], [None, None]), [1, 1]) is None
    assert spread_of(group([0, 1], [2, 3]), [0, 0]) is None
    assert spread_of(group([1], [1]), [1, 1]) is None
    # 0.1 + 0.2 and 0.3, as float32 keeps them
    thirds = group([0.10000000149, 0.0], [0.20000000298, 0.30000001192])
    assert spread_of(thirds, [1, 1]) is None


def test_none_counts_0_as_in_ms_swifts_sum() -> None:
    assert shares(group([None, 1], [0, 1])) == shares(group([0, 1], [0, 1]))


def test_gdpo_makes_ranges_equal() -> None:
    # normalised, both are -1/s, 1/s; the advantages are a multiple of their sums
    one = group([0, 1, 0, 1], [0, 0, 10, 10], advantages=[-2, 0, 0, 2])
    assert shares(one, is_gdpo=True) == pytest.approx({"A": 0.5, "B": 0.5})
    weighted = group([0, 1, 0, 1], [0, 0, 10, 10], advantages=[-4, 2, -2, 4])
    # weights of 3 and 1: variances as 9 to 1
    assert shares(weighted, 3.0, 1.0, is_gdpo=True) == pytest.approx({"A": 0.9, "B": 0.1})


def test_gdpo_takes_none_for_the_mean_and_not_for_0() -> None:
    # B is 8, 10 and unknown: -1/s, 1/s, 0, with s the square root of 2; A is -1, 0, 1
    half = 0.5**0.5
    one = group([0, 1, 2], [8, 10, None], advantages=[-1 - half, half, 1])
    # products with the sums: A 1 + half + 1, B (half + 1/2) + 1/2
    a, b = 2 + half, 1 + half
    expected = {"A": a / (a + b), "B": b / (a + b)}
    assert shares(one, is_gdpo=True) == pytest.approx(expected)
    alone = group([0, 1, 2], [None, None, 7], advantages=[-1, 0, 1])
    assert shares(alone, is_gdpo=True) == pytest.approx({"A": 1, "B": 0})


def test_groups_count_by_the_variance_of_their_advantages() -> None:
    a, b = [0.0, 1.0], [0.0, 0.0]
    # the second group's rewards are ten times as large, but its advantages are not
    normalised = [
        spread_of(group(a, b, advantages=[-1, 1]), [1, 1]),
        spread_of(group(b, [0, 10], advantages=[-1, 1]), [1, 1]),
    ]
    pooled = pool([spread for spread in normalised if spread])
    assert pooled is not None and pooled.groups == 2
    assert pooled.shares == pytest.approx({"A": 0.5, "B": 0.5})
    raw = [spread_of(group(a, b), [1, 1]), spread_of(group(b, [0, 10]), [1, 1])]
    pooled = pool([spread for spread in raw if spread])
    assert pooled is not None
    assert pooled.shares == pytest.approx({"A": 1 / 101, "B": 100 / 101})


def test_nothing_pooled_is_none() -> None:
    assert pool([]) is None
    one = Spread(2, 4.0, {"A": 1.0, "B": 3.0})
    assert pool([one]) == one


@pytest.mark.parametrize("advantages", [[0, 1, 0, 1], [0, 0, 0, 0], [3, 2, 1, 0]])
def test_advantages_of_another_source_are_an_error(advantages: list[float]) -> None:
    with pytest.raises(FormatError, match="not those of the weighted rewards"):
        spread_of(group([0, 1, 2, 3], [0, 0, 0, 0], advantages=advantages), [1, 1])
