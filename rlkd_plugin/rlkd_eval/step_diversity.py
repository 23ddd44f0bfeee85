"""The diversity score D of section 4.3, for each meta-reasoning step across the responses.

Pure functions. For the embeddings e_1 ... e_N of what N responses to one question have as their
i-th step, u = mean(e), and D = 1 / mean(cos(e_j, u)): 1 where all are alike, more where they are
not. The paper has N = 16 and does not say what counts where a response has fewer steps: here a
response counts at the steps that it has, and a step of a question needs two responses; how many
questions and responses a number is based on is reported with it.

The plain form depends on how many responses have the step. For unit vectors with a mean cosine c
over their N (N - 1) / 2 pairs, since each has a cosine of 1 to itself,

    |u|^2 = (N + N (N - 1) c) / N^2 = (1 + (N - 1) c) / N
    mean(cos(e_j, u)) = mean(e_j . u) / |u| = |u|^2 / |u| = |u|

so D(N) = 1 / |u| = sqrt(N / (1 + (N - 1) c)). At one spread, c = 0.5, it is 1.155 for N = 2 and
1.372 for N = 16: late steps, which few responses have, look less diverse than they are.

Therefore c is measured, and D computed of it at N = 16 for every step (`DiversityStep.fixed`). The
mean over pairs is an estimate of c without bias for any N >= 2, and so is its mean over questions.
D is convex in c, so the mean is taken first: a mean of the questions' D would be too large where
they have few responses, and a question with two of them may have no D at all (c < -1/15). It is D
at the mean cosine, a little below the mean of D where questions differ in c; that gap does not
depend on N. The vectors are first scaled to length 1: the paper's form, a mean of vectors of any
length, becomes one of directions. `python -m tools.diversity_estimator` shows both.
"""

import math
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
    """Return D of the embeddings of one step, the paper's plain form.

    Args:
        embeddings: shape (N, width), N of at least 1; a vector of zeros has no direction.

    Raises:
        ValueError: if there are none, or one has no direction, or they cancel each other out.
    """
    vectors = _matrix(embeddings)
    mean = vectors.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(mean)
    if not lengths.all():
        raise ValueError("an embedding, or their mean, is a vector of zeros")
    cosine = float((vectors @ mean / lengths).mean())
    if cosine <= 0:
        raise ValueError(f"the embeddings point away from their mean (cosine {cosine:.3f})")
    return 1 / cosine


def pair_cosine(embeddings: Sequence[Vector]) -> float:
    """Return the mean cosine over all pairs of embeddings, from -1 / (N - 1) to 1.

    It is an unbiased estimate of the mean cosine of two responses, for any N. With few responses it
    may be a little below 0 by chance; it stays so, since 0 in its place would be a bias.

    Args:
        embeddings: shape (N, width), N of at least 2.

    Raises:
        ValueError: if there are fewer, or one has no direction.
    """
    vectors = _matrix(embeddings)
    count = len(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if count < LEAST or not lengths.all():
        raise ValueError("there are fewer than two embeddings, or one is a vector of zeros")
    total = (vectors / lengths).sum(axis=0)
    cosine = float(total @ total - count) / (count * (count - 1))
    return min(1.0, max(-1.0, cosine))  # clips rounding errors


def by_step(questions: Sequence[Sequence[Sequence[Vector]]]) -> list[DiversityStep]:
    """Return the diversity of each step.

    Args:
        questions: for each question its responses, for each of them the embeddings of its steps.

    Raises:
        ValueError: if embeddings cannot be compared, as `diversity` and `pair_cosine`.
    """
    longest = max((len(steps) for responses in questions for steps in responses), default=0)
    found = []
    for place in range(longest):
        at_step = [
            [steps[place] for steps in responses if len(steps) > place] for responses in questions
        ]
        enough = [vectors for vectors in at_step if len(vectors) >= LEAST]
        if enough:
            cosine, error = _mean([pair_cosine(vectors) for vectors in enough])
            found.append(
                DiversityStep(
                    step=place + 1,
                    diversity=_mean([diversity(vectors) for vectors in enough])[0],
                    questions=len(enough),
                    responses=sum(map(len, enough)),
                    cosine=cosine,
                    cosine_error=error,
                )
            )
    return found


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean over questions, and its standard error; None for one question."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def _matrix(embeddings: Sequence[Vector]) -> NDArray[np.float64]:
    if len({len(vector) for vector in embeddings}) > 1:
        raise ValueError("the embeddings differ in length")
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError("no embeddings to compare")
    if not np.isfinite(vectors).all():
        raise ValueError("an embedding has a number that is not finite")
    return vectors
