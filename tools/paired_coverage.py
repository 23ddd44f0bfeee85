"""How often the interval of a paired difference holds the true difference, on simulated studies.

A study has two arms and some seeds. The first arm is better by 5 points in the mean over problems,
more on some and less on others; a seed moves an arm's accuracy on all problems. Responses are right
or wrong at random. Makes the numbers of docs/evaluation.md (minutes):

    python -m tools.paired_coverage
"""

import logging
from statistics import fmean

import numpy as np

from rlkd_plugin.rlkd_eval.paired import paired_difference

TRUE_DIFFERENCE = 0.05
SAMPLES = 8  # of each problem

logger = logging.getLogger(__name__)


def coverage(
    seeds: int, moves: float, studies: int, problems: int = 200, draws: int = 1000
) -> float:
    """Return the share of studies whose 95% interval holds the true difference.

    Args:
        seeds: trainings of each arm.
        moves: standard deviation by which a seed moves an arm's accuracy.
        studies: that are simulated.
        problems: of the test set.
        draws: of the bootstrap.
    """
    chance = np.random.default_rng(1)
    held = []
    for _ in range(studies):
        easy = chance.uniform(0.2, 0.8, problems)
        better = easy + chance.normal(TRUE_DIFFERENCE, 0.05, problems)
        moved = chance.normal(0, moves, (2, seeds, 1))
        shares = np.clip(np.stack([better + moved[0], easy + moved[1]]), 0, 1)
        first, second = chance.binomial(SAMPLES, shares) / SAMPLES
        found = paired_difference(first.tolist(), second.tolist(), draws=draws)
        held.append(found.low <= TRUE_DIFFERENCE <= found.high)
    return fmean(held)


def main() -> None:
    """Print a row of the table for each spread of seeds."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    counts = (1, 3, 5)
    logger.info("| a seed moves an arm by | %s |", " | ".join(f"seeds: {n}" for n in counts))
    for moves in (0.0, 0.02, 0.05):
        cells = [f"{coverage(seeds, moves, studies=1000):.0%}" for seeds in counts]
        logger.info("| %g points | %s |", 100 * moves, " | ".join(cells))


if __name__ == "__main__":
    main()
