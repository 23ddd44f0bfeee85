"""Chooses what embeds texts: a server, or a model in this process."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.embedding_model import OPTION
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder


class Embedder(Protocol):
    """Embeds texts; used with `async with`."""

    @property
    def name(self) -> str:
        """The model; embeddings of two models cannot be compared."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that an embedding depends on, as JSON values; None where one is unknown."""
        ...

    @property
    def usage(self) -> Usage:
        """Requests and tokens so far; zero for a model in this process."""
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


def choose_embedder(
    settings: Settings, model: str = "", *, trust_remote_code: bool = False
) -> Embedder:
    """Return the embedder of a local model, or of the servers of the settings if none is given.

    Args:
        settings: name the servers.
        model: a folder or an id of a sentence-transformers model; empty for the servers.
        trust_remote_code: whether code that comes with a local model may run.

    Raises:
        RlkdError: if a setting or the package for local models is missing, or the model cannot be
            loaded as intended.
    """
    if model:
        return LocalEmbedder(model, trust_remote_code=trust_remote_code)
    if trust_remote_code:
        raise RlkdError(
            f"{OPTION} is for a local embedding model, and none is given: set it at the server "
            "that serves the model"
        )
    return ServerEmbedder(settings)
