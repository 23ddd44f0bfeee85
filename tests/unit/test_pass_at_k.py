"""pass@1 and pass@k against values worked out by hand, and against the closed form."""

import random
from itertools import combinations
from math import prod

import pytest

from rlkd_plugin.rlkd_eval.pass_at_k import (
    any_of_k,
    interval,
    pass_at_1,
    per_problem_pass_at_k,
    unbiased_pass_at_k,
)

TABLE = [[True, False, False, False], [False, False, True, True], [False] * 4]


def test_pass_at_1_is_the_mean_over_samples() -> None:
    # (1/4 + 2/4 + 0) / 3
    assert pass_at_1(TABLE) == pytest.approx(0.25)
    # of the first two: (1/2 + 0 + 0) / 3
    assert pass_at_1(TABLE, 2) == pytest.approx(1 / 6)


def test_the_papers_pass_at_k_is_any_of_the_first_k() -> None:
    assert [any_of_k(TABLE, k) for k in (1, 2, 3, 4)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_the_unbiased_estimator_by_hand() -> None:
    # k = 2 of 4: with one right 1 - C(3,2)/C(4,2) = 1/2, with two 1 - C(2,2)/6 = 5/6, with none 0
    assert unbiased_pass_at_k(TABLE, 2) == pytest.approx((1 / 2 + 5 / 6) / 3)
    assert unbiased_pass_at_k(TABLE, 1) == pytest.approx(pass_at_1(TABLE))
    assert unbiased_pass_at_k(TABLE, 4) == any_of_k(TABLE, 4)


def test_pass_at_k_of_each_problem_by_hand() -> None:
    assert per_problem_pass_at_k(TABLE, 1) == pytest.approx([1 / 4, 1 / 2, 0])
    assert per_problem_pass_at_k(TABLE, 2) == pytest.approx([1 / 2, 5 / 6, 0])
    with pytest.raises(ValueError, match="5 samples a problem are needed, but one has 4"):
        per_problem_pass_at_k(TABLE, 5)


def test_the_unbiased_estimator_is_the_mean_over_all_choices() -> None:
    """Every set of k samples counts once: what the estimator is for."""
    chance = random.Random(1)
    for _ in range(50):
        n = chance.randint(1, 8)
        row = [chance.random() < 0.3 for _ in range(n)]
        for k in range(1, n + 1):
            sets = list(combinations(row, k))
            mean = sum(any(one) for one in sets) / len(sets)
            assert unbiased_pass_at_k([row], k) == pytest.approx(mean)


def test_a_thousand_random_tables_and_the_closed_form() -> None:
    """1 - prod(1 - k/i), i from n-c+1 to n, is how Chen et al. compute it; n up to 64."""
    chance = random.Random(2)
    for _ in range(1000):
        n, problems = chance.randint(1, 64), chance.randint(1, 30)
        k = chance.randint(1, n)
        rows = [[chance.random() < chance.random() for _ in range(n)] for _ in range(problems)]
        counts = [sum(row) for row in rows]
        closed = [
            1.0 if n - c < k else 1 - prod(1 - k / i for i in range(n - c + 1, n + 1))
            for c in counts
        ]
        assert unbiased_pass_at_k(rows, k) == pytest.approx(sum(closed) / problems, abs=1e-12)


def test_problems_may_have_different_numbers_of_samples() -> None:
    # k = 2: of three with one right 1 - C(2,2)/C(3,2) = 2/3; of two with one right 1
    assert unbiased_pass_at_k([[True, False, False], [False, True]], 2) == pytest.approx(5 / 6)


@pytest.mark.parametrize("score", [lambda t: any_of_k(t, 5), lambda t: unbiased_pass_at_k(t, 5)])
def test_too_few_samples_are_refused(score: object) -> None:
    with pytest.raises(ValueError, match="5 samples a problem are needed, but one has 4"):
        score(TABLE)


@pytest.mark.parametrize("samples", [[], [[]]])
def test_nothing_to_score_is_refused(samples: list[list[bool]]) -> None:
    with pytest.raises(ValueError):
        pass_at_1(samples)


def test_k_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        any_of_k(TABLE, 0)


def test_the_interval_is_over_problems() -> None:
    """All right or all wrong has no spread; of 100 problems half right some 0.4 to 0.6."""
    assert interval([[True]] * 9, pass_at_1) == (1.0, 1.0)
    rows = [[True, True]] * 50 + [[False, False]] * 50
    low, high = interval(rows, pass_at_1)
    # the standard error of a share of 0.5 over 100 problems is 0.05
    assert (low, high) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))
    assert interval(rows, pass_at_1) == (low, high)  # seeded
