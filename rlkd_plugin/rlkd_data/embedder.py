"""Who gives texts their embeddings: a server, or a model in this process."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder


class Embedder(Protocol):
    """Gives texts their embeddings; entered with `async with`."""

    @property
    def name(self) -> str:
        """The model; embeddings of two models cannot be compared."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What an embedding depends on, by name, as JSON has it; None where it is not known."""
        ...

    @property
    def usage(self) -> Usage:
        """What was used so far; nothing of a model in this process."""
        ...

    async def __aenter__(self) -> "Embedder": ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, all of one length."""
        ...


def choose_embedder(settings: Settings, model: str = "") -> Embedder:
    """Return the embedder of a local model, or of the servers of the settings if none is named.

    Raises:
        RlkdError: if a setting or the package for local models is missing.
    """
    return LocalEmbedder(model) if model else ServerEmbedder(settings)
