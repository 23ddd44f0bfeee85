"""The listener of a streamed reply, and the filter that keeps our keys from it.

Not here: how a whole reply is cleansed (`own_keys`).
"""

from collections.abc import Callable
from typing import Protocol

from rlkd_plugin.llm_io.own_keys import OwnKeys


class Listener(Protocol):
    """Takes the text of a reply while it is being written."""

    def restart(self) -> None:
        """Forget the text: what was written counts no more."""

    def add(self, text: str) -> None:
        """Take the next part of the text."""


def without_keys(keys: OwnKeys, listener: Listener) -> Callable[[str], None]:
    """Return a function that hands a reply's parts on, as far as they hold no key of ours.

    Once a key has come the listener gets no further text. It may have the key's beginning, but no
    field is made of that, as no tag follows; the whole reply, cleansed, has the rest.
    """
    recent: str | None = ""
    reach = keys.reach

    def forward(text: str) -> None:
        nonlocal recent
        if recent is None:
            return
        recent = recent[max(0, len(recent) - reach) :] + text
        if keys.redact(recent) == recent:
            listener.add(text)
        else:
            recent = None

    return forward
