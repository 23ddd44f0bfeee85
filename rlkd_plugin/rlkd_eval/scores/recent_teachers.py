"""Keeps the newest teacher structures of a cache in memory.

The completions of a problem are scored at about the same time. Its teacher's entry is then read or
written once, not once for each completion.
"""

from collections import OrderedDict

from rlkd_plugin.engines.base import TeacherCache
from rlkd_plugin.gsrm import Structure

KEPT = 256
"""Newest structures that are kept: those of about a hundred problems' teachers."""


class RecentTeachers:
    """Another cache, with its newest structures in memory.

    Args:
        cache: holds all structures.
    """

    def __init__(self, cache: TeacherCache) -> None:
        self._cache = cache
        self._newest: OrderedDict[tuple[str, str, str], Structure] = OrderedDict()

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        """Return the structure of a teacher path, or None."""
        key = (problem, domain, path)
        structure = self._newest.get(key) or self._cache.get(*key)
        if structure is not None:
            self._keep(key, structure)
        return structure

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Store a structure, unless it is stored already."""
        key = (problem, domain, path)
        if self._newest.get(key) != structure:
            self._cache.put(*key, structure)
        self._keep(key, structure)

    def _keep(self, key: tuple[str, str, str], structure: Structure) -> None:
        self._newest[key] = structure
        self._newest.move_to_end(key)
        if len(self._newest) > KEPT:
            self._newest.popitem(last=False)
