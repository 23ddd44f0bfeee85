"""pass@1, pass@k and their uncertainty, from which samples of each problem were right.

Pure functions of tables: one list of booleans a problem. Section 4.1 of the paper defines pass@1 as
the mean over m samples, and pass@k for k > 1 as "at least one of the k responses is accurate".
"""

import random
from collections.abc import Callable, Sequence
from math import comb
from statistics import fmean

Samples = Sequence[Sequence[bool]]
"""A row a problem: whether each of its samples is right, in the order of drawing."""


def pass_at_1(samples: Samples, count: int | None = None) -> float:
    """Return the mean share of right samples: the paper's pass@1 over m runs.

    Args:
        samples: one list a problem.
        count: m, the first samples of each problem that count; all where None.

    Raises:
        ValueError: if there is no problem, or one has fewer samples.
    """
    return fmean(fmean(row) for row in _first(samples, count))


def any_of_k(samples: Samples, k: int) -> float:
    """Return the share of problems with a right one among the first k samples: the paper's pass@k.

    It depends on the order of the samples; `unbiased_pass_at_k` uses all of them.

    Raises:
        ValueError: as `pass_at_1`.
    """
    return fmean(any(row) for row in _first(samples, k))


def unbiased_pass_at_k(samples: Samples, k: int) -> float:
    """Return the estimator of Chen et al. 2021: the mean of `per_problem_pass_at_k`.

    Raises:
        ValueError: as `pass_at_1`.
    """
    return fmean(per_problem_pass_at_k(samples, k))


def per_problem_pass_at_k(samples: Samples, k: int) -> list[float]:
    """Return 1 - C(n-c, k) / C(n, k) of each problem; for k = 1 its share of right samples.

    A problem has n samples, c of them right. This is the chance that k of them, drawn at random,
    hold a right one.

    Raises:
        ValueError: as `pass_at_1`.
    """
    _first(samples, k)
    return [1 - comb(len(row) - sum(row), k) / comb(len(row), k) for row in samples]


def interval(
    samples: Samples, score: Callable[[Samples], float], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return a score's 95% confidence interval: a percentile bootstrap over problems.

    Problems are the units: samples of one problem say nothing about other problems.

    Args:
        samples: one list a problem.
        score: of a table, such as `pass_at_1`.
        draws: tables drawn.
        seed: of the draws.

    Raises:
        ValueError: if there is no problem.
    """
    if not samples:
        raise ValueError("no problem has a sample: there is nothing to score")
    chance = random.Random(seed)
    scores = sorted(score(chance.choices(samples, k=len(samples))) for _ in range(draws))
    return scores[int(0.025 * draws)], scores[min(draws - 1, int(0.975 * draws))]


def _first(samples: Samples, count: int | None) -> list[Sequence[bool]]:
    if not samples:
        raise ValueError("no problem has a sample: there is nothing to score")
    if count is not None and count < 1:
        raise ValueError(f"k must be at least 1, not {count}")
    least = min(len(row) for row in samples)
    if least < (count or 1):
        raise ValueError(f"{count or 1} samples a problem are needed, but one has {least}")
    return [row[:count] for row in samples]
