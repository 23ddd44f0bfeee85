"""Creates the client of a role from the settings."""

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.pace import Pace
from rlkd_plugin.llm_io.settings import Settings


def role_client(
    role: str, settings: Settings, usage: Usage | None = None, *, instead: str = ""
) -> ChatClient:
    """Return the client of a role; it is entered with `async with`.

    Args:
        role: "GSRM", "judge", "generator", "verifier", "student" or "embed".
        settings: its servers, `RLKD_<ROLE>_BASE_URL` and so on, the rates and the retry deadlines.
        usage: shared by several clients; by default each client has its own.
        instead: end of the message about a missing setting: the alternative to servers.

    Raises:
        RlkdError: if a setting is missing.
    """
    values = {
        option: getattr(settings, f"{role.lower()}_{option}")
        for option in ("base_url", "model", "api_key_env")
    }
    for option, value in values.items():
        if not value:
            raise RlkdError(f"set RLKD_{role.upper()}_{option.upper()}{instead}")
    return ChatClient(
        Endpoint(
            role,
            values["base_url"],
            values["model"],
            values["api_key_env"],
            getattr(settings, f"{role.lower()}_body"),
        ),
        request_timeout=settings.request_timeout,
        patience=settings.patience,
        startup_patience=settings.startup_patience,
        usage=Usage() if usage is None else usage,
        pace=Pace(*settings.rank_rates),
    )
