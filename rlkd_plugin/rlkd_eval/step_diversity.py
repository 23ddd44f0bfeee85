"""The diversity score D of section 4.3, for each meta-reasoning step across the responses.

Pure functions. For the embeddings e_1 ... e_N of what N responses to one question have as their
i-th step, u = mean(e), and D = 1 / mean(cos(e_j, u)): 1 where all are alike, more where they are
not. The paper has N = 16 and does not say what counts where a response has fewer steps: here a
response counts at the steps that it has, and a step of a question needs two responses; how many
questions and responses stand behind a number is reported with it.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkd_plugin.rlkd_eval.results import DiversityStep

LEAST = 2
"""Minimum responses per step."""

Vector: TypeAlias = Sequence[float] | NDArray[np.floating]
"""An embedding of a text."""


def diversity(embeddings: Sequence[Vector]) -> float:
    """Return D of the embeddings of one step.

    Args:
        embeddings: shape (N, width), N of at least 1; a vector of zeros has no direction.

    Raises:
        ValueError: if there are none, or one has no direction, or they cancel each other out.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError("no embeddings to compare")
    mean = vectors.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(mean)
    if not lengths.all():
        raise ValueError("an embedding, or their mean, is a vector of zeros")
    cosine = float((vectors @ mean / lengths).mean())
    if cosine <= 0:
        raise ValueError(f"embeddings that point away from their mean (cosine {cosine:.3f})")
    return 1 / cosine


def by_step(questions: Sequence[Sequence[Sequence[Vector]]]) -> list[DiversityStep]:
    """Return the diversity of each step.

    Args:
        questions: for each question its responses, for each of them the embeddings of its steps.
    """
    found = []
    longest = max((len(steps) for responses in questions for steps in responses), default=0)
    for place in range(longest):
        at_step = [
            [steps[place] for steps in responses if len(steps) > place] for responses in questions
        ]
        enough = [vectors for vectors in at_step if len(vectors) >= LEAST]
        if enough:
            scores = [diversity(vectors) for vectors in enough]
            mean = sum(scores) / len(scores)
            found.append(DiversityStep(place + 1, mean, len(enough), sum(map(len, enough))))
    return found
