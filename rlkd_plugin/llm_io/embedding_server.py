"""Embeddings from any server with `/v1/embeddings`: `vllm serve`, `swift deploy` and others."""

from collections.abc import Sequence

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.chat_client import ChatClient, Endpoint
from rlkd_plugin.llm_io.settings import Settings


class ServerEmbedder:
    """Asks the servers that the settings name; entered with `async with`.

    Raises:
        RlkdError: if a setting is missing.
    """

    def __init__(self, settings: Settings) -> None:
        for name in ("embed_base_url", "embed_model"):
            if not getattr(settings, name):
                raise RlkdError(
                    f"embeddings need RLKD_{name.upper()}, or a local model: --model FOLDER"
                )
        self.name = settings.embed_model
        self.usage = Usage()
        self.client = ChatClient(
            Endpoint(
                "embed", settings.embed_base_url, settings.embed_model, settings.embed_api_key_env
            ),
            request_timeout=settings.request_timeout,
            patience=settings.patience,
            startup_patience=settings.startup_patience,
            usage=self.usage,
        )

    async def __aenter__(self) -> "ServerEmbedder":
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.__aexit__(*error)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text.

        Raises:
            EndpointError: if the servers fail for longer than the patience, or refuse us.
        """
        return await self.client.embed(texts)
