"""What is known of the options that servers take, for all requests of a client.

Plain facts, which go to another process with their client. Not here: how they are found out
(`option_search`).
"""

import time
from collections.abc import Mapping

from rlkd_plugin.llm_io.request_options import Change

VOUCHED_SECONDS = 300.0
"""Seconds for which a request that was taken says that its options are. A server that names no
option is then believed that a text is at fault."""

Names = frozenset[str]


class ServerOptions:
    """The changes that requests to each server need, by its URL."""

    def __init__(self) -> None:
        self._changes: dict[str, Mapping[str, Change]] = {}
        self._vouched: dict[tuple[str, Names], float] = {}

    def changes(self, url: str) -> Mapping[str, Change]:
        """Return a server's changes; another object once there are more of them."""
        return self._changes.get(url) or _NONE

    def learn(self, url: str, changes: Mapping[str, Change]) -> None:
        """Remember changes."""
        self._changes[url] = {**self.changes(url), **changes}

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        """The options that each server rejects, with its words."""
        return {
            url: {option: change.words for option, change in changes.items()}
            for url, changes in self._changes.items()
        }

    def vouch(self, url: str, names: Names) -> None:
        """Note that a server takes these options, or that they are not what it rejects."""
        self._vouched[url, names] = time.monotonic()

    def are_vouched(self, url: str, names: Names) -> bool:
        """Say whether a rejection of a request with these options is due to its text."""
        at = self._vouched.get((url, names))
        return at is not None and time.monotonic() - at < VOUCHED_SECONDS


_NONE: Mapping[str, Change] = {}
