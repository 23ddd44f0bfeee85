"""How a job's progress learns how many rows there are: beside the job, and never in its way."""

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlkd_plugin.rlkd_data.jobs import progress
from rlkd_plugin.rlkd_data.jobs.progress import show_progress
from tests.support.waiting import wait_for as wait_for_state

ROWS = b'{"n": 1}\n' * 1234


@pytest.fixture(autouse=True)
def lines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is shown, until a line has the text."""
    shown = ""

    def has_text() -> bool:
        nonlocal shown
        shown += capsys.readouterr().err
        return text in shown

    wait_for_state(has_text, f"a line has {text!r}")
    return shown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", ROWS),
        ("rows.jsonl.gz", gzip.compress(ROWS, mtime=0)),
        ("rows.json", b"[" + b",".join(ROWS.splitlines()) + b"]"),
        ("rows.csv", b"n\n" + b"1\n" * 1234),
    ],
)
def test_rows_are_counted_beside_the_job(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with show_progress(tmp_path / name, lambda: 1000, lambda: "cost 5"):
        wait_for("1,000 of 1,234 rows, 0 a minute, no row finished since, cost 5\n", capsys)


def test_a_file_that_cannot_be_counted_has_no_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with it is the job's to say."""
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(ROWS)[:-4])
    with show_progress(file, lambda: 1000):
        shown = wait_for("1,000 rows, 0 a minute, no row finished since\n", capsys)
    assert " of " not in shown + capsys.readouterr().err
    assert "cannot be counted" not in shown


@pytest.fixture
def slow_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A count that gives one row more for each call of this, and never ends."""
    more, asked = threading.Semaphore(0), threading.Event()

    def counts(files: object) -> Iterator[int]:
        while True:
            asked.set()
            assert more.acquire(timeout=60)
            yield 1

    monkeypatch.setattr(progress, "row_counts", counts)
    yield more.release
    assert asked.is_set()


def test_a_job_does_not_wait_for_the_count(
    slow_count: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither at its start nor at its end; until then the rows are shown without their number."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(ROWS)
    done = 0
    with show_progress(file, lambda: done):
        shown = wait_for("0 rows\n", capsys)
        done = 600
        shown += wait_for("600 rows, ", capsys)
        for seconds in (0.05, 5.0, 20.0):  # a part of the file, while the job ends
            timer = threading.Timer(seconds, slow_count)
            timer.daemon = True
            timer.start()
    assert " of " not in shown and " left" not in shown


def test_an_error_of_the_job_is_its_own(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(ROWS)
    with pytest.raises(KeyError, match="mine"), show_progress(file, lambda: 0):
        raise KeyError("mine")
