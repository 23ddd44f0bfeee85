"""How similar texts are to the items of a test set: the largest cosine of their embeddings."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.jobs.result_lines import identity

BATCH = 64
"""Texts in one request for embeddings."""
DIGITS = 6
"""Decimal places of a cosine; its last bits depend on which texts were embedded together."""

Item = TypeVar("Item")
Nearest = tuple[float, int]
"""The similarity to the nearest test item, and which item that is."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ItemVectors:
    """The items of a test set, and their embeddings.

    Attributes:
        items: the texts.
        vectors: of length 1, shape (items, dimensions).
        id: hash of the texts and the embedder; similarities with another id do not count.
    """

    items: Sequence[str]
    vectors: np.ndarray
    id: int


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the items in lists for one request each."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


async def embed_items(items: Sequence[str], embedder: Embedder) -> ItemVectors:
    """Embed the items of a test set.

    Raises:
        EndpointError: if the embedding server fails, or rejects an item.
    """
    vectors = [vector for batch in in_batches(items) for vector in await embedder.embed(batch)]
    facts = json.dumps(embedder.facts, sort_keys=True)
    return ItemVectors(items, _unit(vectors), identity(facts, *items))


async def nearest_items(
    texts: Sequence[str], items: ItemVectors, embedder: Embedder
) -> list[Nearest | None]:
    """Return the nearest item of each text, None for a text that the server rejects.

    Raises:
        EndpointError: if the embedding server fails, or is not the one that embedded the items.
    """
    try:
        vectors = _unit(await embedder.embed(texts), like=items.vectors)
    except EndpointError as error:
        if not error.refuses_text:
            raise
        if len(texts) == 1:
            logger.warning("not chosen, as the server rejects it: %r: %s", texts[0][:80], error)
            return [None]
        return [found for text in texts for found in await nearest_items([text], items, embedder)]
    cosines = vectors @ items.vectors.T
    return [(round(float(row.max()), DIGITS), int(row.argmax())) for row in cosines]


def _unit(vectors: Sequence[Sequence[float]], like: np.ndarray | None = None) -> np.ndarray:
    """Return vectors of length 1, shape (N, D), in double precision.

    Raises:
        EndpointError: if they are of another dimension than `like`.
    """
    matrix = np.asarray(vectors, dtype=np.float64)
    if like is not None and matrix.shape[1] != like.shape[1]:
        raise EndpointError(
            f"the embedding server gives vectors of {like.shape[1]} and of {matrix.shape[1]} "
            "numbers; serve the same model at every URL of RLKD_EMBED_BASE_URL"
        )
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
