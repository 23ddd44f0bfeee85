"""Who takes the text of a reply while it is being written, and what it is not told."""

from collections.abc import Callable
from typing import Protocol

from rlkd_plugin.llm_io.own_keys import OwnKeys


class Listener(Protocol):
    """Takes the text of a reply while it is being written."""

    def restart(self) -> None:
        """Forget the text: a reply begins."""

    def add(self, text: str) -> None:
        """Take the next part of the text."""


def tell_without(keys: OwnKeys, listener: Listener) -> Callable[[str], None]:
    """Return a function that hands a reply's parts on, as far as they hold no key of ours.

    From a key on the listener is told nothing more: the whole reply, cleansed, has the rest.
    """
    recent: str | None = ""
    reach = keys.reach

    def tell(text: str) -> None:
        nonlocal recent
        if recent is None:
            return
        recent = recent[max(0, len(recent) - reach) :] + text
        if keys.cleanse(recent) == recent:
            listener.add(text)
        else:
            recent = None

    listener.restart()
    return tell
