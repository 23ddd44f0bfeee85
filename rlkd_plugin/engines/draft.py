"""A student's structure while a model writes it, shared by the engine and the walk."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.gsrm.structure_stream import StructureReader


class Draft:
    """The part of a structure that has been written so far.

    The engine calls `restart` before each reply and `add` with each part of its text. The walks
    read the fields.

    Attributes:
        restarts: the number of replies begun; fields of earlier ones do not count.
        on_news: callbacks for each change.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self._reader = StructureReader()
        self.on_news: list[Callable[[], None]] = []

    @property
    def fields(self) -> Sequence[str]:
        """The complete fields in reading order; a field never changes."""
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
        """Forget the text: another reply begins."""
        self._reader = StructureReader()
        self.restarts += 1
        self._notify()

    def add(self, text: str) -> None:
        """Read the next part of the reply's text."""
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
        """Whether structures are shown; a setting may turn this off."""
        ...

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        """Return the structure of a reasoning path, as `Engine.decompose`.

        Cancel it as soon as the rest is not needed, so that the model stops writing.

        Args:
            draft: shows the structure while it is being written.
            problem: the problem.
            domain: its domain.
            path: R.
        """
        ...
