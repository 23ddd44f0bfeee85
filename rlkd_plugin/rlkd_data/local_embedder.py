"""Embeddings from a local sentence-transformers model, for machines without a server."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.weight_fingerprint import weight_fingerprint
from rlkd_plugin.rlkd_data.embedding_model import OPTION, OTHERS, load_model, own_code


class LocalEmbedder:
    """A model in this process; `async with` loads it.

    Texts are embedded without an instruction. The cards' `query` prompts are for the question side
    of a search ("given a web search query, retrieve ..."); passages have none. Here both sides are
    passages, and a prompt would only add the same words to all. A model's default prompt is kept.

    Args:
        model: a folder, as `modelscope download --local_dir` leaves it, or an id.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        RlkdError: if the package sentence-transformers is missing, there is no such model, no file
            names its pooling, or it needs code of its own that may not run.
    """

    def __init__(self, model: str, *, trust_remote_code: bool = False) -> None:
        self.name = model
        self.usage = Usage()
        self._place = str(Path(model).expanduser())
        self._code = own_code(self._place)
        self._model: Any = None
        if self._code and not trust_remote_code:
            raise RlkdError(
                f"{model} needs code that comes with it ({', '.join(self._code)}); without it "
                f"another model would be loaded, whose embeddings are noise. Read that code and "
                f"give {OPTION}, serve the model (RLKD_EMBED_BASE_URL), or name {OTHERS}"
            )

    @property
    def facts(self) -> Mapping[str, Any]:
        """The model, whether its own code runs, and the fingerprint of a folder's weights."""
        folder = Path(self._place)
        weights = weight_fingerprint(folder) if folder.is_dir() else None
        code = {"own_code": self._code} if self._code else {}
        return {"embedder": self.name, "weights": weights, **code}

    async def __aenter__(self) -> "LocalEmbedder":
        self._model = await asyncio.to_thread(load_model, self._place, remote_code=bool(self._code))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._model = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, of length 1.

        Raises:
            RlkdError: if the model fails, or a vector is zero or not finite.
        """
        try:
            vectors = await asyncio.to_thread(
                self._model.encode, list(texts), show_progress_bar=False, normalize_embeddings=True
            )
        except Exception as error:  # a model's own code may raise anything
            words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise RlkdError(f"{self.name} cannot embed {texts[0][:80]!r} ...: {words}") from None
        lost = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
        if lost.any():
            text = texts[int(lost.argmax())]
            raise RlkdError(
                f"{self.name} gives a vector of zeros, or one that is not finite, for "
                f"{text[:80]!r}; float16 weights are a common cause. Name another model"
            )
        return vectors.tolist()
