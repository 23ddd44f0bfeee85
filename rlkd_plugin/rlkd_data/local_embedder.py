"""Embeddings from a local sentence-transformers model, for machines without a server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError


class LocalEmbedder:
    """A model in this process; entered with `async with`, like a server's.

    Args:
        model: a folder, as `modelscope download --local_dir` leaves it, or an id.

    Raises:
        RlkdError: if the package sentence-transformers is missing.
    """

    def __init__(self, model: str) -> None:
        try:
            import sentence_transformers  # pyright: ignore[reportMissingImports]  # optional
        except ImportError:
            raise RlkdError(
                "a local embedding model needs the package sentence-transformers "
                "(pip install 'rlkd_plugin[embed]'); or name a server in RLKD_EMBED_BASE_URL"
            ) from None
        self.name = model
        self.usage = Usage()
        self.model = sentence_transformers.SentenceTransformer(str(Path(model).expanduser()))

    async def __aenter__(self) -> "LocalEmbedder":
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text."""
        vectors = await asyncio.to_thread(
            self.model.encode, list(texts), show_progress_bar=False, normalize_embeddings=True
        )
        return vectors.tolist()
