"""A group of servers as the settings name it, and the message about a rejected request.

Our keys are removed from a server's message before it comes here (`own_keys`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A group of servers with one model, and the settings that name them.

    `role` is "GSRM", "judge", "generator" ...; the variables are `RLKD_<ROLE>_BASE_URL` and so on.
    `body` holds further keys of each request.
    """

    role: str
    urls: tuple[str, ...]
    model: str
    api_key_env: str
    body: Mapping[str, Any] = field(default_factory=dict)

    def variable(self, option: str) -> str:
        """Return the name of one of this endpoint's settings."""
        return f"RLKD_{self.role.upper()}_{option}"

    def rejection(self, url: str, status: int, payload: bytes, via: str = "") -> str:
        """Return the message about a rejected request: the server's message and the remedy.

        `via` is a remark on the proxy, empty without one.
        """
        remedy = {
            401: f"check the API key in the variable that {self.named_key} names",
            402: f"the account of the API key in {self.named_key} cannot pay",
            429: f"the account of the API key in {self.named_key} cannot pay",
            403: f"check the API key in the variable that {self.named_key} names",
            404: f"correct {self.variable('MODEL')}={self.model!r} or "
            f"{self.variable('BASE_URL')} (it ends in /v1)",
        }.get(status, f"check {self.variable('BASE_URL')} and the server's log")
        words = words_of(payload)
        remedy = via if via and status == 407 else "; ".join(filter(None, (remedy, via)))
        return f"the {self.role} at {url} answers HTTP {status}: {words}; {remedy}"

    @property
    def named_key(self) -> str:
        """The setting that names the key's variable, with its value unless that may be a key."""
        name = self.api_key_env
        shown = f"={name}" if name.isupper() or name in os.environ else ""
        return self.variable("API_KEY_ENV") + shown


def words_of(payload: bytes) -> str:
    """Return the beginning of a server's message, on one line."""
    text = payload.decode("utf-8", errors="replace")
    return " ".join(text.split())[:300] or "(nothing)"
