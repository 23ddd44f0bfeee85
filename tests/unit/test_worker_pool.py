"""Worker processes: one that is killed costs its block's repetition, and none outlives its job."""

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.worker_pool import TRIES, WorkerPool
from rlkd_plugin.rlkd_data.prepare import prepare
from tests.support.row_lines import write
from tests.support.waiting import default_signals, wait_for

PRELOAD = ["rlkd_plugin.rlkd_data.jobs.worker_pool"]


def square(number: int) -> int:
    return number * number


def fail(number: int) -> int:
    raise ValueError(f"a mistake at {number}")


def die_once(task: tuple[str, int]) -> int:
    """Kill this process the first time that a file is not there."""
    mark, number = task
    if number == 7 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order() -> None:
    with WorkerPool(2, PRELOAD) as pool:
        for count in (0, 1, 3, 100):
            assert pool.map(square, range(count), "b") == [n * n for n in range(count)]


def test_a_killed_process_costs_the_blocks_repetition(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [(str(tmp_path / "mark"), n) for n in range(20)]
    with WorkerPool(2, PRELOAD) as pool:
        assert pool.map(die_once, tasks, "rows 1 to 20") == [n * n for n in range(20)]
        assert pool.map(square, [3], "the next") == [9]
    assert caplog.messages == ["a worker process was killed; new ones repeat rows 1 to 20"]


def die_while_answering(mark: str) -> str:
    """Return a text that no pipe takes at once; the first time, be killed while it is written."""

    def kill_in_send() -> None:
        main = threading.main_thread().ident
        while sys._current_frames()[main or 0].f_code.co_name != "_send":
            time.sleep(0.0001)
        os.kill(os.getpid(), signal.SIGKILL)

    if not Path(mark).exists():
        Path(mark).touch()
        threading.Thread(target=kill_in_send, daemon=True).start()
    return "x" * 10_000_000


def test_a_process_that_is_killed_while_it_answers_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with WorkerPool(2, PRELOAD) as pool:
        answers = pool.map(die_while_answering, [str(tmp_path / "mark")] * 8, "b")
    assert answers == ["x" * 10_000_000] * 8
    assert caplog.messages == ["a worker process was killed; new ones repeat b"]


def test_a_block_that_kills_each_time_ends_with_a_sentence() -> None:
    words = f"rows 1 to 20: a worker process was killed {TRIES} times.*again with fewer --workers"
    with WorkerPool(2, PRELOAD) as pool, pytest.raises(RlkdError, match=words):
        pool.map(die, range(20), "rows 1 to 20")


def test_an_error_of_the_function_itself_comes_through() -> None:
    with WorkerPool(2, PRELOAD) as pool:
        with pytest.raises(ValueError, match="a mistake at 0"):
            pool.map(fail, range(4), "b")
        assert pool.map(square, [2], "the next") == [4]


def depth(item: list) -> int:
    return 1 + depth(item[0]) if item else 0


def test_items_that_are_nested_too_deep_to_be_sent_are_worked_on_here() -> None:
    deep: list = []
    for _ in range(800):
        deep = [deep]
    with pytest.raises(RecursionError):
        pickle.dumps((depth, [deep]))
    with WorkerPool(2, PRELOAD) as pool:
        assert pool.map(depth, [[], deep, [[]]], "b") == [0, 800, 1]
        assert pool.map(depth, [deep], "b") == [800]


# --- rlkd prepare with two workers ---


def source(folder: Path, count: int = 2600) -> Path:
    """Rows whose golds take their time."""
    return write(
        folder / "in.jsonl",
        *(
            {
                "problem": f"P{n}",
                "teacher_reasoning": f"It is {n}.",
                "answer": f"\\frac{{{n}}}{{7}}",
            }
            for n in range(count)
        ),
    )


@contextmanager
def preparing(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run `rlkd prepare`, past its first block when the body begins."""
    arguments = [str(source(folder)), str(folder / "out.jsonl"), "--workers", "2"]
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "prepare", "jsonl", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=default_signals,
    ) as job:
        saved = folder / ".out.jsonl.progress.json"

        def has_begun() -> bool:
            is_saved = saved.exists() and json.loads(saved.read_text())["read"] > 0
            return is_saved or job.poll() is not None

        wait_for(has_begun, "the first block is saved")
        try:
            yield job
        finally:
            job.kill()


def family(job: "subprocess.Popen[str]") -> list[psutil.Process]:
    """All processes that a job has started."""
    return psutil.Process(job.pid).children(recursive=True)


def is_worker(process: psutil.Process, job: "subprocess.Popen[str]") -> bool:
    return process.ppid() != job.pid


def is_server(process: psutil.Process, job: "subprocess.Popen[str]") -> bool:
    return process.ppid() == job.pid


@pytest.mark.parametrize("which", [is_worker, is_server])
def test_a_job_whose_process_is_killed_writes_the_same_rows(
    which: Callable[[Any, Any], bool], tmp_path: Path
) -> None:
    with preparing(tmp_path) as job:
        next(process for process in family(job) if which(process, job)).kill()
        said = job.communicate(timeout=60)[0]
    assert job.returncode == 0, said
    assert "2,600 rows read = 2,600 kept" in said and "Traceback" not in said
    prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "whole.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_the_job_and_the_same_command_goes_on(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    with preparing(tmp_path) as job:
        processes = family(job)
        job.send_signal(number)
        said = job.communicate(timeout=60)[0]
    assert job.returncode == code, said
    assert "Traceback" not in said and "Exception ignored" not in said
    assert ("stopped after" in said) == (code > 0)
    wait_for(lambda: not any(map(is_alive, processes)), "all of its processes are gone")
    assert prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl").kept == 2600
    prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "whole.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_jobs_lock_is_not_left_with_a_worker(tmp_path: Path) -> None:
    """A worker that lives a moment longer would keep the next job from going on."""
    with preparing(tmp_path) as job:
        processes = family(job)
        for process in processes:
            process.suspend()  # it cannot notice that its job is gone
        job.kill()
        job.wait(60)
        try:
            assert prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl").kept == 2600
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):  # the fork server ends the others
                    process.resume()
        wait_for(lambda: not any(map(is_alive, processes)), "all of its processes are gone")


def test_a_hidden_file_that_is_removed_is_noticed(tmp_path: Path) -> None:
    def remove(rows: int) -> None:
        (tmp_path / ".out.jsonl.part").unlink(missing_ok=True)

    with pytest.raises(RlkdError, match=r"\.out\.jsonl\.part was removed, moved or replaced"):
        prepare("jsonl", source(tmp_path, 20), tmp_path / "out.jsonl", on_progress=remove)
    assert not (tmp_path / "out.jsonl").exists()
    assert prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl").kept == 20


@pytest.mark.parametrize("content", [b"", b"more than the job wrote" * 9999])
def test_a_hidden_file_that_something_else_writes_is_noticed(
    content: bytes, tmp_path: Path
) -> None:
    def write_mine(rows: int) -> None:
        (tmp_path / ".out.jsonl.part").write_bytes(content)

    with pytest.raises(RlkdError, match=r"part was changed by another program \([\d,]+ bytes"):
        prepare("jsonl", source(tmp_path, 20), tmp_path / "out.jsonl", on_progress=write_mine)
    assert not (tmp_path / "out.jsonl").exists()
    assert prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl").kept == 20


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folder_that_is_removed_is_one_sentence(is_file: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(rows: int) -> None:
        shutil.rmtree(folder)
        if is_file:
            folder.write_text("a file now")

    with pytest.raises(RlkdError, match=r"\.out\.jsonl\.part was removed, moved or replaced"):
        prepare("jsonl", source(tmp_path, 20), folder / "out.jsonl", on_progress=remove)


def test_a_disk_without_room_is_one_sentence_and_the_job_goes_on(tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    words = ["prepare", "jsonl", str(source(tmp_path)), str(tmp_path / "out.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", *words, "--workers", "1"],
        capture_output=True,
        text=True,
        preexec_fn=little_room,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"rlkd: {tmp_path}: File too large; the rows that were saved stay. Make room, then give "
        "the same command again\n"
    )
    saved = json.loads((tmp_path / ".out.jsonl.progress.json").read_text())
    assert (tmp_path / ".out.jsonl.part").stat().st_size == saved["written"] > 0
    assert prepare("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl").kept == 2600


def test_an_out_that_somebody_else_writes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def write_mine(rows: int) -> None:
        out.write_text("mine")

    with pytest.raises(RlkdError, match="was changed after `rlkd prepare` wrote it"):
        prepare("jsonl", source(tmp_path, 20), out, on_progress=write_mine)
    assert out.read_text() == "mine"
    out.unlink()
    assert prepare("jsonl", tmp_path / "in.jsonl", out).kept == 20
