"""The reward's engine with one server, which records requests and replies."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request's options and its reply, or the error in its place."""

    options: dict[str, Any]
    reply: Reply | None
    error: str = ""


_watched: ContextVar[list[Exchange] | None] = ContextVar("recorded exchanges", default=None)


def watch() -> list[Exchange]:
    """Return the list to which the exchanges of this task are added from now on."""
    exchanges: list[Exchange] = []
    _watched.set(exchanges)
    return exchanges


class WatchedEngine(ServerEngine):
    """Asks one server of a role, as the reward does.

    Args:
        settings: those of the run.
        role: the model to ask.
        url: the server to ask.
    """

    def __init__(self, settings: Settings, role: Role, url: str) -> None:
        one_server = {f"{role.lower()}_base_url": (url,)}
        super().__init__(settings.model_copy(update=one_server), [role])
        self.role: Role = role
        self.url = url

    @property
    def client(self) -> ChatClient:
        """The client of the one server."""
        return self.clients[self.role]

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        exchanges = _watched.get()
        kept = exchanges if exchanges is not None else []
        try:
            reply = await super()._ask(role, prompt, **options)
        except EndpointError as error:
            kept.append(Exchange(options, None, str(error)))
            raise
        kept.append(Exchange(options, reply))
        return reply
