"""Embeddings from a local sentence-transformers model, for machines without a server."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.weight_fingerprint import weight_fingerprint


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

    @property
    def facts(self) -> Mapping[str, Any]:
        """The model, and the fingerprint of its weights where it is a folder."""
        folder = Path(self.name).expanduser()
        weights = weight_fingerprint(folder) if folder.is_dir() else None
        return {"embedder": self.name, "weights": weights}

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
