"""Checks that an embedder separates related from unrelated problems, before any measurement.

A model that is served or loaded wrongly (causal in place of bidirectional attention, another
pooling, missing weights) gives vectors like any other, and nothing else fails. The texts are chosen
so that shared words do not help: the unrelated problem shares more words with the first problem
than the related one does. A model without a sense of meaning puts the unrelated one nearer.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.rlkd_data.embedder import Embedder

PROBLEM = "Prove that there are infinitely many primes."
RELATED = "Show that the number of primes is not finite."
UNRELATED = "Prove that there are more cats than dogs in the street."
MARGIN = 0.03
"""Minimum difference between the related pair's cosine and that of either unrelated pair.

Cosines of some good models lie in a narrow range, so the margin is small. Measured: 0.105 for
multilingual-e5-small in 4 bits, whose cosines lie between 0.8 and 1, and 0.69 for all-MiniLM-L6-v2;
0.003 at most for models that embed nothing: a causal language model by its last token and by the
mean of its tokens, and models of random weights."""

logger = logging.getLogger(__name__)


async def check_embedder(embedder: Embedder) -> None:
    """Check an open embedder.

    Raises:
        RlkdError: if it does not separate the problems; the message has the three cosines.
        EndpointError: if the embedding server fails.
    """
    related, first, second = cosines_of(await embedder.embed([PROBLEM, RELATED, UNRELATED]))
    if not related - max(first, second) >= MARGIN:
        raise RlkdError(
            f"the embeddings by {embedder.name} are noise: two related problems have a cosine of "
            f"{related:.3f}, an unrelated one has {first:.3f} and {second:.3f} to them; the first "
            f"must be larger by {MARGIN}. Check that it is an embedding model and is loaded as its "
            "card says (pooling, attention, weights); see docs/downloads.md"
        )


async def check_early(embedder: Embedder) -> None:
    """Check an embedder that will be needed hours later; a server may be down until then.

    Raises:
        RlkdError: as `check_embedder`, and if a local model cannot be loaded.
        EndpointError: if the embedding server rejects our requests.
    """
    try:
        async with open_embedder(embedder):
            pass
    except EndpointError as error:
        if error.status is not None:
            raise
        logger.warning("the embeddings are not checked yet: %s", error)


@asynccontextmanager
async def open_embedder(embedder: Embedder) -> AsyncIterator[None]:
    """Open an embedder for the body, and check it first.

    Raises:
        RlkdError: as `check_embedder`.
        EndpointError: if the embedding server fails.
    """
    async with embedder:
        await check_embedder(embedder)
        yield


def cosines_of(vectors: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the cosines of the first to the second vector, and of both to the third."""
    first, second, third = np.asarray(vectors, dtype=np.float64)
    return _cosine(first, second), _cosine(first, third), _cosine(second, third)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
