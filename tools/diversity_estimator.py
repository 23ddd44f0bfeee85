"""Both forms of the diversity score on simulated responses of equal spread, as a table.

    python -m tools.diversity_estimator

Each question's embeddings are unit vectors with one expected cosine to each other: a direction that
they share, and one of their own. A table's cell is the mean over repeats, with the standard
deviation of one repeat, that is the standard error of one measurement of so many questions.
"""

import math
from dataclasses import dataclass

import numpy as np

from rlkd_plugin.rlkd_eval.results import FIXED_N, DiversityStep
from rlkd_plugin.rlkd_eval.step_diversity import diversity, pair_cosine

COSINES = (0.2, 0.5, 0.8)
COUNTS = (2, 4, 8, 16)
WIDTH = 16
"""Dimensions of the own directions: as few as this make the cosines of two responses vary."""
QUESTIONS = 100
HEAD = (
    "| cosine | responses | true D at 16 | plain form | D at 16, cosines first | D at 16, "
    "each question first |"
)


@dataclass(frozen=True)
class Row:
    """What one spread and number of responses gives.

    Attributes:
        true: D at 16 responses of the expected cosine.
        plain: the mean of the paper's plain form.
        fixed: the mean of D at 16 of the questions' mean cosine, and its spread over repeats.
        each_first: the mean of D at 16 of each question; 4, its largest value, where it has none.
    """

    cosine: float
    count: int
    true: float
    plain: float
    plain_spread: float
    fixed: float
    fixed_spread: float
    each_first: float
    each_spread: float

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.cosine} | {self.count} | {self.true:.3f} "
            f"| {self.plain:.3f} ± {self.plain_spread:.3f} "
            f"| {self.fixed:.3f} ± {self.fixed_spread:.3f} "
            f"| {self.each_first:.3f} ± {self.each_spread:.3f} |"
        )


def at_16(cosine: float) -> float:
    """Return D at 16 responses, at most 4: no 16 directions have a larger one on average."""
    fixed = DiversityStep(1, 1.0, 1, 2, cosine).fixed
    return min(fixed or math.inf, math.sqrt(FIXED_N))


def simulate(cosine: float, count: int, repeats: int = 40, seed: int = 0) -> Row:
    """Measure `repeats` times, each over all questions."""
    random = np.random.default_rng([seed, round(100 * cosine), count])
    found = np.empty((repeats, 3))
    for repeat in range(repeats):
        own = random.normal(size=(QUESTIONS, count, WIDTH))
        own *= math.sqrt(1 - cosine) / np.linalg.norm(own, axis=2, keepdims=True)
        shared = np.full((QUESTIONS, count, 1), math.sqrt(cosine))
        questions = np.concatenate([shared, own], axis=2)
        cosines = [pair_cosine(vectors) for vectors in questions]
        plain = np.mean([diversity(vectors) for vectors in questions])
        each = np.mean([at_16(one) for one in cosines])
        found[repeat] = plain, at_16(float(np.mean(cosines))), each
    plain, fixed, each = map(float, found.mean(axis=0))
    plain_spread, fixed_spread, each_spread = map(float, found.std(axis=0, ddof=1))
    return Row(
        cosine=cosine,
        count=count,
        true=at_16(cosine),
        plain=plain,
        plain_spread=plain_spread,
        fixed=fixed,
        fixed_spread=fixed_spread,
        each_first=each,
        each_spread=each_spread,
    )


def table() -> str:
    """Return the table of docs/evaluation.md."""
    rows = [simulate(cosine, count) for cosine in COSINES for count in COUNTS]
    rule = "| ---: " * HEAD.count(" | ") + "| ---: |"
    return "\n".join([HEAD, rule, *(row.line() for row in rows)])


if __name__ == "__main__":
    print(table())
