"""The cache of teacher structures on disk: whole entries, or none."""

import json
import multiprocessing
from pathlib import Path

import pytest

from rlkd_plugin.gsrm import Step, Structure
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from tests.conftest import SetOptions
from tools.stand_ins.killed_cache_writer import check_cache

ENTRY = ("How many?", "math", "6 * 4 = 24")
STRUCTURE = Structure((Step("plan", "what", "24"), Step("plan on", "what else", "19")), "19")


def entries(folder: Path) -> list[Path]:
    """Return every file of a cache, hidden ones too."""
    return [file for file in folder.rglob("*") if file.is_file()]


def write_often(folder: Path, rounds: int) -> None:
    """Write the same few entries again and again, as one of several processes."""
    cache = DiskCache(folder, "identity")
    for n in range(rounds):
        cache.put("How many?", "math", f"path {n % 3}", STRUCTURE)


def test_a_structure_comes_back_as_it_was(tmp_path: Path) -> None:
    """Another object, as of another run, reads what the first one wrote."""
    DiskCache(tmp_path, "identity").put(*ENTRY, STRUCTURE)
    assert DiskCache(tmp_path, "identity").get(*ENTRY) == STRUCTURE


def test_an_empty_cache_has_nothing(tmp_path: Path) -> None:
    """A folder that is not there is made when the first entry is written."""
    folder = tmp_path / "not" / "there"
    cache = DiskCache(folder, "identity")
    assert cache.get(*ENTRY) is None
    assert not folder.exists()
    cache.put(*ENTRY, STRUCTURE)
    assert cache.get(*ENTRY) == STRUCTURE


@pytest.mark.parametrize(
    "other",
    [
        ("Other?", "math", "6 * 4 = 24"),
        ("How many?", "code", "6 * 4 = 24"),
        ("How many?", "math", "6 * 4 = 25"),
        ("How many?", "math6 * 4 = 24", ""),
    ],
)
def test_another_question_is_another_entry(tmp_path: Path, other: tuple[str, str, str]) -> None:
    """Problem, domain and path each count, and where one ends counts too."""
    cache = DiskCache(tmp_path, "identity")
    cache.put(*ENTRY, STRUCTURE)
    assert cache.get(*other) is None


def test_another_identity_has_other_entries(tmp_path: Path) -> None:
    """Both can be there side by side."""
    one, two = DiskCache(tmp_path, "gsrm-1"), DiskCache(tmp_path, "gsrm-2")
    one.put(*ENTRY, STRUCTURE)
    assert two.get(*ENTRY) is None
    two.put(*ENTRY, Structure((Step("a", "b", "c"),)))
    assert one.get(*ENTRY) == STRUCTURE


@pytest.mark.parametrize(
    "change",
    [
        {"gsrm_model": "another"},
        {"gsrm_prompt": "construct"},
        {"gsrm_regex": "true"},
        {"gsrm_max_chars": "100"},
        {"gsrm_max_tokens": "100"},
    ],
)
def test_the_identity_is_what_structures_depend_on(
    options: SetOptions, change: dict[str, str]
) -> None:
    """Model, prompt and the options of the request make another identity."""
    url = "http://127.0.0.1:1/v1"
    options(gsrm_base_url=url, gsrm_model="g", judge_base_url=url, judge_model="j")
    before = ServerEngine(load_settings()).identity
    options(**change)
    assert ServerEngine(load_settings()).identity != before


def test_the_identity_ignores_where_the_servers_are(options: SetOptions) -> None:
    """The cache outlives a port, a judge and a bound."""
    url = "http://127.0.0.1:1/v1"
    options(gsrm_base_url=url, gsrm_model="g", judge_base_url=url, judge_model="j")
    before = ServerEngine(load_settings()).identity
    options(gsrm_base_url="http://other/v1", judge_model="k", concurrency=3, patience=1)
    assert ServerEngine(load_settings()).identity == before


@pytest.mark.parametrize(
    "torn",
    [
        *(b"", b'{"version": 1, "struc', b"\xff\xfe", b"[]", b"null", b"{}", b'{"structure": 5}'),
        *(b'{"structure": ""}', b'{"structure": "[Meta-reasoning 1]: a"}', b"\0" * 100),
    ],
)
def test_a_torn_entry_is_none_and_is_made_anew(
    tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and does no harm."""
    cache = DiskCache(tmp_path, "identity")
    cache.put(*ENTRY, STRUCTURE)
    (file,) = entries(tmp_path)
    file.write_bytes(torn)
    assert cache.get(*ENTRY) is None
    assert "cannot be read, and is replaced" in caplog.text
    cache.put(*ENTRY, STRUCTURE)
    assert cache.get(*ENTRY) == STRUCTURE


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the setting and the folder."""
    folder = tmp_path / "file"
    folder.write_text("a file where the folder should be")
    cache = DiskCache(folder, "identity")
    cache.put(*ENTRY, STRUCTURE)
    assert cache.get(*ENTRY) is None
    assert f"RLKD_CACHE_DIR={folder}" in caplog.text


def test_an_entry_is_one_json_file(tmp_path: Path) -> None:
    """It says what it is an entry of, and no temporary file is left."""
    DiskCache(tmp_path, "identity").put(*ENTRY, STRUCTURE)
    (file,) = entries(tmp_path)
    entry = json.loads(file.read_bytes())
    assert (entry["identity"], entry["problem"], entry["domain"]) == (
        "identity",
        "How many?",
        "math",
    )
    assert file.suffix == ".json"


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Here the entry's place is taken by a folder."""
    cache = DiskCache(tmp_path, "identity")
    cache.put(*ENTRY, STRUCTURE)
    (file,) = entries(tmp_path)
    file.unlink()
    (file / "in the way").mkdir(parents=True)
    cache.put(*ENTRY, STRUCTURE)
    assert entries(tmp_path) == []


def test_texts_that_are_no_unicode_can_be_keys(tmp_path: Path) -> None:
    """Lone surrogates and NUL in a problem or path do no harm, and are told apart."""
    cache = DiskCache(tmp_path, "identity")
    cache.put("a\ud800", "math", "b\0", STRUCTURE)
    assert cache.get("a\ud800", "math", "b\0") == STRUCTURE
    assert cache.get("a\ud801", "math", "b\0") is None


def test_several_processes_may_write_the_same_entries(tmp_path: Path) -> None:
    """Every entry is whole at every moment, and nothing else is left."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(tmp_path, 150)) for _ in range(2)]
    for writer in writers:
        writer.start()
    cache = DiskCache(tmp_path, "identity")
    while any(writer.is_alive() for writer in writers):
        assert cache.get("How many?", "math", "path 0") in (None, STRUCTURE)
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [cache.get("How many?", "math", f"path {n}") for n in range(3)] == [STRUCTURE] * 3
    assert len(entries(tmp_path)) == 3


def test_a_process_that_is_killed_loses_and_tears_no_entry(tmp_path: Path) -> None:
    """The benchmark's run with fewer operations; it raises where something is wrong."""
    said = check_cache(tmp_path, 1000)
    assert "1000 operations and a process killed after" in said
