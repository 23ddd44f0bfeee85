"""A guarded Procfile under a real honcho: whatever is killed, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.swift_run import ROOT

GUARD = f"exec {sys.executable} -m rlkd_plugin.rlkd_cli guard"
LEAVER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""
"""Starts a process in a session of its own, as torchrun and vLLM do, and leaves it behind."""


class Run:
    """A honcho of a long process and another, and all processes that carry its mark."""

    def __init__(self, folder: Path, seconds: float = 600, status: int = 0) -> None:
        leaver = folder / "leaver.py"
        leaver.write_text(LEAVER)
        run = f"{GUARD} {sys.executable} {leaver}"
        self.procfile = folder / "Procfile"
        self.procfile.write_text(f"server: {run} 600 0\ntrainer: {run} {seconds} {status}\n")
        self.mark = f"RLKD_TEST_MARK={folder}"
        self.log = folder / "log"
        self.honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "-f", str(self.procfile), "start"],
            cwd=ROOT,
            env={**os.environ, "RLKD_TEST_MARK": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def alive(self) -> list[psutil.Process]:
        """All processes of the run, wherever they hang in the tree."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = Path(f"/proc/{process.pid}/environ").read_bytes()
                if self.mark.encode() in environ and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.NoSuchProcess):
                continue
        return found

    def guards(self, name: str) -> list[psutil.Process]:
        """The outer and the inner guard of an entry; honcho's log has the first's number."""
        line = next(line for line in self.log.open() if f"{name}.1 started" in line)
        outer = psutil.Process(int(line.partition("pid=")[2].partition(")")[0]))
        return [outer, *outer.children()]

    def ends(self, seconds: float = 20) -> bool:
        """Wait until no process of the run is left."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.honcho.poll()
            if not self.alive():
                return True
            time.sleep(0.1)
        return False


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that starts a run and waits until all of it is there."""
    runs = []

    def start(processes: int = 2 + 1 + 2 * 4, **options: float) -> Run:
        # honcho and its two forks; of each entry two guards, the leaver and what it leaves
        run = Run(tmp_path, **options)
        runs.append(run)
        until = time.monotonic() + 30
        while len(run.alive()) < processes and time.monotonic() < until:
            time.sleep(0.1)
        assert len(run.alive()) == processes
        return run

    yield start
    for run in runs:
        for process in run.alive():
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_manager_is_killed(
    started: Callable[..., Run], number: int
) -> None:
    run = started()
    run.honcho.send_signal(number)
    assert run.ends(), run.alive()


@pytest.mark.parametrize("which", [0, 1], ids=["outer", "inner"])
def test_nothing_is_left_when_a_guard_is_killed(started: Callable[..., Run], which: int) -> None:
    run = started()
    run.guards("trainer")[which].kill()
    assert run.ends(), run.alive()


def test_nothing_is_left_when_the_command_is_killed(started: Callable[..., Run]) -> None:
    run = started()
    _, inner = run.guards("server")
    (command,) = inner.children()
    command.kill()
    assert run.ends(), run.alive()
    assert run.honcho.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("status", [0, 3])
def test_the_first_to_end_gives_the_status(started: Callable[..., Run], status: int) -> None:
    """honcho takes it from us, and we from the command."""
    run = started(seconds=3, status=status)
    assert run.ends(), run.alive()
    assert run.honcho.returncode == status


def test_a_server_that_ends_is_an_error() -> None:
    """vLLM's status is 0 when its engine was killed."""
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", "--server", "true"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, "rlkd guard: the server has ended\n")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", "no-such-command", "--option"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 127
    assert done.stderr == "rlkd guard: no-such-command: No such file or directory\n"
