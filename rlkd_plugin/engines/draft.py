"""A student's structure while a model writes it, between the engine that reads and the walk."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.gsrm.structure_stream import StructureReader


class Draft:
    """What is known of a structure that is being written.

    The engine that reads it calls `restart` before each reply and `add` with each part of its
    text; the walks look at what is known.

    Attributes:
        restarts: how many replies were begun; fields of an earlier one count no more.
        on_news: what is called when something changes.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self._reader = StructureReader()
        self.on_news: list[Callable[[], None]] = []

    @property
    def fields(self) -> Sequence[str]:
        """The fields that are complete, in reading order; they are only ever added to."""
        return self._reader.fields

    @property
    def is_ended(self) -> bool:
        """Whether no further step follows."""
        return self._reader.is_ended

    @property
    def is_ending(self) -> bool:
        """Whether the final answer is being written, within its first `MOST_FINAL` characters."""
        return self._reader.is_ending

    def restart(self) -> None:
        """Forget what was read: another reply begins."""
        self._reader = StructureReader()
        self.restarts += 1
        self._notify()

    def add(self, text: str) -> None:
        """Take the next part of the reply's text."""
        known = self._state
        self._reader.feed(text)
        if self._state != known:
            self._notify()

    @property
    def _state(self) -> tuple[int, bool, bool]:
        return len(self.fields), self.is_ended, self.is_ending

    def _notify(self) -> None:
        for notify in self.on_news:
            notify()


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that shows a structure while it is being written."""

    @property
    def streams(self) -> bool:
        """Whether structures are shown; a setting may turn it off."""
        ...

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        """Return the structure of a reasoning path, as `Engine.decompose`.

        Cancel it as soon as nothing more is needed: the model then stops writing.

        Args:
            draft: shows the structure while it is being written.
            problem: the problem.
            domain: its domain.
            path: R.
        """
        ...
