"""Paired differences against values worked out by hand, and against simulated trainings."""

from itertools import product
from statistics import fmean, pstdev

import numpy as np
import pytest

from rlkd_plugin.rlkd_eval.paired import Difference, arm_mean, paired_difference
from rlkd_plugin.rlkd_eval.result_values import Measure
from tools.paired_coverage import coverage

SMALL = {"studies": 300, "problems": 100, "draws": 400}


def test_the_estimate_is_the_mean_over_seeds_and_problems() -> None:
    first = [[1.0, 0.5, 0.0], [0.5, 0.5, 1.0]]
    second = [[0.5, 0.5, 0.5], [0.0, 0.5, 0.0]]
    # 0.5, 0 and -0.5 of the first seed, 0.5, 0 and 1 of the second: 1.5 / 6
    assert paired_difference(first, second).value == pytest.approx(0.25)
    assert arm_mean(first).value == pytest.approx(3.5 / 6)


def test_a_constant_difference_is_certain_however_hard_the_problems_are() -> None:
    """That is the pairing: what both arms share is no uncertainty of their difference."""
    second = [[0.0, 0.25, 0.5, 0.75], [0.5, 0.0, 0.25, 0.25]]
    first = [[score + 0.25 for score in row] for row in second]
    assert paired_difference(first, second) == Difference(0.25, 0.25, 0.25, 0.0)
    alone = arm_mean(first)
    assert alone.high - alone.low > 0.2


def test_the_error_is_that_of_all_tables_that_can_be_drawn() -> None:
    scores = [[1.0, 0.0, 0.0], [0.5, 0.5, 1.0]]
    zero = [[0.0] * 3] * 2
    # all 2^2 draws of seeds with all 3^3 draws of problems, each as likely as the others
    means = [
        fmean(scores[s][p] for s in seeds for p in problems)
        for seeds in product(range(2), repeat=2)
        for problems in product(range(3), repeat=3)
    ]
    found = paired_difference(scores, zero, draws=100_000)
    assert found.error == pytest.approx(pstdev(means), rel=0.02)
    assert found.low == pytest.approx(sorted(means)[round(0.025 * len(means))], abs=1e-12)
    assert found.high == pytest.approx(sorted(means)[round(0.975 * len(means))], abs=1e-12)


def test_one_seed_has_the_textbook_error_over_problems() -> None:
    # differences of 1 and 0 in equal numbers: a standard error of 0.5 / sqrt(100)
    first, second = [[1.0, 0.0] * 50], [[0.0, 0.0] * 50]
    found = paired_difference(first, second, draws=20_000)
    assert found.error == pytest.approx(0.05, rel=0.03)
    assert (found.low, found.high) == (
        pytest.approx(0.402, abs=0.01),
        pytest.approx(0.598, abs=0.01),
    )
    # 1.96 + 0.84 standard errors
    assert found.detectable == pytest.approx(2.8 * found.error)


def test_seeds_that_differ_make_it_uncertain() -> None:
    first = [[0.0] * 50, [0.3] * 50, [0.6] * 50]
    found = paired_difference(first, [[0.0] * 50] * 3, draws=20_000)
    # the mean of three draws of 0, 0.3 and 0.6, whose standard deviation is sqrt(0.06)
    assert found.error == pytest.approx((0.06 / 3) ** 0.5, rel=0.03)
    assert (found.low, found.high) == (pytest.approx(0), pytest.approx(0.6))


def test_the_order_of_arms_is_the_sign() -> None:
    chance = np.random.default_rng(3)
    first, second = chance.random((2, 3, 40)).tolist()
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.value == pytest.approx(-back.value)
    assert there.error == pytest.approx(back.error)
    assert there.low == pytest.approx(-back.high) and there.high == pytest.approx(-back.low)


def test_draws_are_seeded() -> None:
    chance = np.random.default_rng(3)
    first, second = chance.random((2, 3, 40)).tolist()
    assert paired_difference(first, second) == paired_difference(first, second)
    assert paired_difference(first, second) != paired_difference(first, second, seed=1)


def test_an_arms_mean_keeps_its_range() -> None:
    assert arm_mean([[1.0] * 9] * 3) == Measure(1.0, 1.0, 1.0)
    rare = arm_mean([[0.0] * 30 + [1.0]] * 3)
    assert rare.low == 0 and rare.value == pytest.approx(1 / 31)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([], [], "no problem has a score"),
        ([[]], [[]], "no problem has a score"),
        ([[0.5, 0.5], [0.5]], [[0.5, 0.5], [0.5]], "every seed needs a score of every problem"),
        ([[0.5, 0.5]], [[0.5]], "tables of 1 x 2 and 1 x 1 scores"),
        ([[0.5]] * 3, [[0.5]], "tables of 3 x 1 and 1 x 1 scores"),
    ],
)
def test_tables_that_are_no_pairs_are_refused(
    first: list[list[float]], second: list[list[float]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        paired_difference(first, second)


def test_three_seeds_hold_the_truth_about_as_often_as_they_say() -> None:
    """Drawing problems and seeds counts the samples' chance twice: too wide, but not too narrow."""
    assert 0.95 <= coverage(3, moves=0, **SMALL) <= 1
    assert 0.9 <= coverage(3, moves=0.02, **SMALL) <= 0.99


def test_one_seed_tells_nothing_of_other_seeds() -> None:
    """Right for the two models that there are, far too narrow for the methods behind them."""
    assert 0.91 <= coverage(1, moves=0, **SMALL) <= 0.98
    assert coverage(1, moves=0.05, **SMALL) < 0.7
