"""Remembers the options that servers accept or reject, for all requests of a client.

These are plain facts, which are pickled with the client. Not here: the search for rejected options
(`option_search`).
"""

import time
from collections.abc import Mapping

from rlkd_plugin.llm_io.request_options import Change

VOUCHED_SECONDS = 300.0
"""Seconds after an accepted request in which its options count as accepted. A rejection that names
no option is then due to the text."""

Names = frozenset[str]


class ServerOptions:
    """The changes that requests to each server need, by its URL."""

    def __init__(self) -> None:
        self._changes: dict[str, Mapping[str, Change]] = {}
        self._vouched: dict[tuple[str, Names], float] = {}

    def changes(self, url: str) -> Mapping[str, Change]:
        """Return a server's changes; a new object after each addition."""
        return self._changes.get(url) or _NONE

    def learn(self, url: str, changes: Mapping[str, Change]) -> None:
        """Remember changes."""
        self._changes[url] = {**self.changes(url), **changes}

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        """The options that each server rejects, with its message."""
        return {
            url: {option: change.words for option, change in changes.items()}
            for url, changes in self._changes.items()
        }

    def vouch(self, url: str, names: Names) -> None:
        """Record that a server accepts these options, or that a rejection was not due to them."""
        self._vouched[url, names] = time.monotonic()

    def are_vouched(self, url: str, names: Names) -> bool:
        """Return whether a rejection of a request with these options is due to its text."""
        at = self._vouched.get((url, names))
        return at is not None and time.monotonic() - at < VOUCHED_SECONDS


_NONE: Mapping[str, Change] = {}
