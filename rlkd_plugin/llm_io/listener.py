"""The listener of a streamed reply, and the filter that hides our keys from it.

Not here: how a whole reply is redacted (`own_keys`).
"""

from collections.abc import Callable
from typing import Protocol

from rlkd_plugin.llm_io.own_keys import OwnKeys


class Listener(Protocol):
    """Receives the text of a reply while it is being written."""

    def restart(self) -> None:
        """Forget the text so far."""

    def add(self, text: str) -> None:
        """Receive the next part of the text."""


def without_keys(keys: OwnKeys, listener: Listener) -> Callable[[str], None]:
    """Return a function that passes a reply's parts to the listener until one of our keys occurs.

    After a key the listener gets no further text. It may have received the key's beginning; that
    never becomes part of a field, as no tag follows it. The rest comes with the redacted reply.
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
