"""The file of a long job, and the runner that fills it."""

import asyncio
import json
import multiprocessing
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.result_lines import identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job


def test_lines_are_appended_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "done.jsonl"
    for number in (1, 2):
        with ResultFile(file) as results:
            assert len(list(results.rows())) == number - 1
            results.append({"n": number, "text": "é\n"})
    with ResultFile(file) as results:
        assert [row["n"] for row in results.rows()] == [1, 2]
    assert file.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("rest", [b'{"n": 3', b"{", b"x" * 200_000])
def test_a_last_line_that_was_cut_off_is_removed(
    rest: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "done.jsonl"
    file.write_bytes(b'{"n": 1}\n{"n": 2}\n' + rest)
    with ResultFile(file) as results:
        results.append({"n": 4})
        assert [row["n"] for row in results.rows()] == [1, 2, 4]
    assert "its last line was cut off" in caplog.text


def test_a_file_that_is_nothing_but_a_cut_line_is_emptied(tmp_path: Path) -> None:
    file = tmp_path / "done.jsonl"
    file.write_bytes(b'{"n"')
    with ResultFile(file) as results:
        assert list(results.rows()) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"[1]\n", r"no JSON object: \[1\]"),
        (b"no JSON\n", "broken JSON: "),
        (b'{"n": 1}\n', "it has no text, id; name another file"),
    ],
)
def test_a_line_of_another_kind_is_an_error_with_its_place(
    line: bytes, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "done.jsonl"
    file.write_bytes(b'{"n": 1, "text": "a", "id": 7}\n' + line)
    with (
        ResultFile(file, {"n": int, "text": str, "id": int}) as results,
        pytest.raises(RlkdError, match=rf"done\.jsonl:2 is not a line of this job: {fault}"),
    ):
        list(results.rows())


def test_a_reply_with_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    with ResultFile(tmp_path / "done.jsonl") as results:
        results.append({"reply": "多 \ud83d"})
        results.append({"reply": "多"})
        assert [row["reply"] for row in results.rows()] == ["多 \ud83d", "多"]


def claim(file: Path, said: "multiprocessing.Queue[str]") -> None:
    """Try to open a file in another process."""
    try:
        with ResultFile(file):
            said.put("open")
    except RlkdError as error:
        said.put(str(error))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    with ResultFile(tmp_path / "done.jsonl"):
        other = context.Process(target=claim, args=(tmp_path / "done.jsonl", said))
        other.start()
        other.join(60)
    assert said.get(timeout=60) == (
        f"another job writes {tmp_path / 'done.jsonl'}; wait for it, or name another file"
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match="there is no folder"), ResultFile(tmp_path / "no" / "x"):
        pass


def test_an_identity_is_that_of_the_content() -> None:
    assert identity("a", "b") == identity("a", "b")
    assert len({identity("a", "b"), identity("b", "a"), identity("ab"), identity("a\ud800")}) == 4


def test_every_item_is_worked_on_once_and_so_many_at_a_time() -> None:
    """And none is taken from the source before there is a place for it."""
    working, most, taken, written = 0, 0, 0, []

    def source() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    async def work(number: int) -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        assert taken <= len(written) + 4
        await asyncio.sleep(0.001 * (number % 3))
        working -= 1
        return number * number

    def write(number: int, result: int) -> None:
        written.append((number, result))

    asyncio.run(run_job(source(), work, write, 4))
    assert sorted(written) == [(n, n * n) for n in range(50)]
    assert most == 4


def test_the_first_error_ends_the_job_and_what_was_written_stays() -> None:
    written: list[int] = []
    given_up: list[int] = []

    async def work(number: int) -> int:
        if number == 3:
            raise RlkdError("the server is gone")
        try:
            await asyncio.sleep(0 if number < 3 else 60)
        except asyncio.CancelledError:
            given_up.append(number)
            raise
        return number

    with pytest.raises(RlkdError, match="the server is gone"):
        asyncio.run(run_job(range(10), work, lambda item, result: written.append(item), 3))
    assert written == [0, 1, 2]
    assert set(given_up) <= {4, 5}


def test_a_line_is_on_disk_before_the_next_is_made(tmp_path: Path) -> None:
    file = tmp_path / "done.jsonl"
    with ResultFile(file) as results:
        results.append({"n": 1})
        assert json.loads(file.read_text()) == {"n": 1}


def full_disk(file: Path, said: "multiprocessing.Queue[str]") -> None:
    """Append rows where a file may have 100 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    with ResultFile(file) as results:
        try:
            for number in range(10):
                results.append({"n": number, "text": "x" * 20})
        except RlkdError as error:
            said.put(str(error))


def test_a_full_disk_leaves_whole_lines_and_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "done.jsonl"
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    job = context.Process(target=full_disk, args=(file, said))
    job.start()
    job.join(60)
    message = said.get(timeout=60)
    assert message.startswith(f"{file}: File too large; what was written stays. Make room")
    assert file.stat().st_size <= 100 and file.read_bytes().endswith(b"}\n")
    with ResultFile(file) as results:
        assert [row["n"] for row in results.rows()] == [0, 1]


def test_done_rows_are_seen_once() -> None:
    done = DoneRows(iter([7, 2**64 - 1, 7, 0]))
    assert [key in done for key in (0, 1, 7, 2**64 - 1)] == [True, False, True, True]
    assert [done.see(key) for key in (7, 7, 1, 0)] == [True, False, False, True]
    assert 7 in done and not DoneRows([]).see(7) and 7 not in DoneRows([])


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_done_rows_are_a_set(keys: list[int], others: list[int]) -> None:
    done = DoneRows(keys)
    assert [key for key in keys + others if key in done] == [
        key for key in keys + others if key in set(keys)
    ]
