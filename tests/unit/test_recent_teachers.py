"""The teacher structures that `rlkd score` keeps in memory."""

import pytest

from rlkd_plugin.gsrm import Step, Structure
from rlkd_plugin.rlkd_eval.scores import recent_teachers
from rlkd_plugin.rlkd_eval.scores.recent_teachers import RecentTeachers

ONE = Structure((Step("Add.", "2 + 3?", "5"),))
OTHER = Structure((Step("Multiply.", "2 * 3?", "6"),))


class Store:
    """A cache that records its calls."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, str], Structure] = {}
        self.calls: list[str] = []

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        self.calls.append(f"get {problem}")
        return self.entries.get((problem, domain, path))

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        self.calls.append(f"put {problem}")
        self.entries[problem, domain, path] = structure


def test_an_entry_is_written_once_for_all_completions_of_a_problem() -> None:
    store = Store()
    recent = RecentTeachers(store)
    for _ in range(8):
        recent.put("p", "math", "path", ONE)
    assert recent.get("p", "math", "path") == ONE
    assert store.calls == ["put p"]


def test_an_entry_is_read_once() -> None:
    store = Store()
    store.entries["p", "math", "path"] = ONE
    recent = RecentTeachers(store)
    assert [recent.get("p", "math", "path") for _ in range(3)] == [ONE] * 3
    assert store.calls == ["get p"]


def test_a_missing_entry_is_looked_up_each_time() -> None:
    """Another job may have written it meanwhile."""
    store = Store()
    recent = RecentTeachers(store)
    assert recent.get("p", "math", "path") is None
    store.entries["p", "math", "path"] = ONE
    assert recent.get("p", "math", "path") == ONE


def test_another_structure_replaces_the_entry() -> None:
    store = Store()
    recent = RecentTeachers(store)
    recent.put("p", "math", "path", ONE)
    recent.put("p", "math", "path", OTHER)
    assert store.entries["p", "math", "path"] == recent.get("p", "math", "path") == OTHER


def test_another_domain_or_path_is_another_entry() -> None:
    recent = RecentTeachers(Store())
    recent.put("p", "math", "path", ONE)
    assert recent.get("p", "code", "path") is None
    assert recent.get("p", "math", "another") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_teachers, "KEPT", 2)
    store = Store()
    recent = RecentTeachers(store)
    recent.put("a", "math", "path", ONE)
    recent.put("b", "math", "path", ONE)
    recent.get("a", "math", "path")  # now b is the oldest
    recent.put("c", "math", "path", ONE)
    store.calls.clear()
    for problem in "acb":
        assert recent.get(problem, "math", "path") == ONE
    assert store.calls == ["get b"]
