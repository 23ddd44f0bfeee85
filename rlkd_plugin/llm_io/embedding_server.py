"""Embeddings from a server with `/v1/embeddings`: `vllm serve`, `swift deploy` and others."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlkd_plugin.llm_io.prompted_engine import body_digest
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings

INSTEAD = ", or name a local model (--model of `rlkd subset`, --embed-model of `rlkd diversity`)"
"""End of the message about a missing setting."""


class ServerEmbedder:
    """Computes embeddings on the servers of the settings; entered with `async with`.

    Raises:
        RlkdError: if a setting is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = role_client("embed", settings, instead=INSTEAD)
        self.name = settings.embed_model
        self.usage = self.client.usage

    @property
    def facts(self) -> Mapping[str, Any]:
        """The model's name on the servers, and the digest of the further request keys."""
        return {"embedder": self.name, "body": body_digest(self.client.endpoint.body)}

    async def __aenter__(self) -> "ServerEmbedder":
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.__aexit__(*error)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text.

        Raises:
            EndpointError: if the servers fail past the retry deadline, or reject the request.
        """
        return await self.client.embed(texts)
