"""A guarded Procfile under a real honcho: whatever is killed, nothing is left."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from rlkd_plugin.rlkd_guard import manager_of, runs
from tests.support.waiting import LONG, default_signals, wait_for
from tools.stand_ins.places import ROOT

GUARD = f"exec {sys.executable} -m rlkd_plugin.rlkd_cli guard"
LEAVER = """
import subprocess, sys, time
from pathlib import Path
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.1)
sys.exit(int(sys.argv[2]))
"""
"""Starts a process in a session of its own, as torchrun does, and leaves it behind when told."""


class Run:
    """A honcho of a server and a trainer, and all processes that carry its mark.

    The trainer ends with a status when the file `go` is there.
    """

    def __init__(self, folder: Path, status: int = 0) -> None:
        self.go = folder / "go"
        leaver = folder / "leaver.py"
        leaver.write_text(LEAVER)
        run = f"{GUARD} {sys.executable} {leaver}"
        self.procfile = folder / "Procfile"
        self.procfile.write_text(f"server: {run} never 0\ntrainer: {run} {self.go} {status}\n")
        self.mark = f"RLKD_TEST_MARK={folder}"
        self.log = folder / "log"
        self.honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "-f", str(self.procfile), "start"],
            cwd=ROOT,
            env={**os.environ, "RLKD_TEST_MARK": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=default_signals,
        )

    def alive(self) -> list[psutil.Process]:
        """All processes of the run, wherever they hang in the tree."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = Path(f"/proc/{process.pid}/environ").read_bytes()
                if self.mark.encode() in environ and runs(process):
                    found.append(process)
            except OSError:
                continue
        return found

    def guards(self, name: str) -> list[psutil.Process]:
        """The outer and the inner guard of an entry; honcho's log has the first's number."""
        started = re.compile(rf"{name}\.1 started \(pid=(\d+)\)")
        found = wait_for(lambda: started.search(self.log.read_text()), f"honcho logs {name}")
        outer = psutil.Process(int(found[1]))
        return [outer, *outer.children()]

    def end(self) -> int:
        """Wait until no process of the run is left, and return honcho's status."""
        wait_for(lambda: not self.alive(), f"no process with {self.mark} is left")
        return self.honcho.wait(LONG)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that starts a run and waits until all of it is there."""
    made = []

    def start(status: int = 0, whole: bool = True) -> Run:
        run = Run(tmp_path, status)
        made.append(run)
        # honcho and its two forks; of each entry two guards, the leaver and what it leaves
        processes = 2 + 1 + 2 * 4
        if whole:
            wait_for(lambda: len(run.alive()) == processes, f"{processes} processes run")
        return run

    yield start
    for run in made:
        for process in run.alive():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_manager_is_killed(
    started: Callable[..., Run], number: int
) -> None:
    run = started()
    run.honcho.send_signal(number)
    run.end()


@pytest.mark.parametrize("which", [0, 1], ids=["outer", "inner"])
def test_nothing_is_left_when_a_guard_is_killed(started: Callable[..., Run], which: int) -> None:
    run = started()
    run.guards("trainer")[which].kill()
    run.end()


def test_nothing_is_left_when_the_command_is_killed(started: Callable[..., Run]) -> None:
    run = started()
    _, inner = run.guards("server")
    (command,) = inner.children()
    command.kill()
    assert run.end() == 128 + signal.SIGKILL


@pytest.mark.parametrize("status", [0, 3])
def test_the_first_to_end_gives_the_status(started: Callable[..., Run], status: int) -> None:
    """honcho takes it from us, and we from the command."""
    run = started(status=status)
    run.go.touch()
    assert run.end() == status


def test_a_server_that_ends_is_an_error() -> None:
    """vLLM's status is 0 when its engine was killed."""
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", "--server", "true"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, "rlkd guard: the server has ended\n")


def test_nothing_is_left_when_the_manager_is_killed_while_we_start(
    started: Callable[..., Run],
) -> None:
    """Its forks live on as orphans, and must not be taken for the manager."""
    run = started(whole=False)
    wait_for(lambda: run.log.read_text().count(" started (pid=") == 2, "honcho has started both")
    run.honcho.kill()
    run.end()


def test_nothing_is_left_when_the_terminal_is_closed(tmp_path: Path) -> None:
    """Its processes get SIGHUP; those of other sessions do not."""
    leaver = tmp_path / "leaver.py"
    leaver.write_text(LEAVER)
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", sys.executable, str(leaver)]
    words = [*command, str(tmp_path / "never"), "0"]
    guard = psutil.Popen(words, cwd=ROOT, preexec_fn=default_signals)

    def tree() -> list[psutil.Process]:
        return guard.children(recursive=True)

    # the inner guard, the command, and what that leaves behind
    wait_for(lambda: len(tree()) == 3, "the guard's three descendants run")
    there = tree()
    guard.send_signal(signal.SIGHUP)
    assert guard.wait(LONG) == 128 + signal.SIGHUP
    assert not any(map(runs, there))


def test_a_guard_without_a_parent_has_no_manager() -> None:
    """`docker exec` starts processes whose parent is in another namespace."""

    class Alone:
        def parent(self) -> None:
            return None

    assert manager_of(Alone()) == []


def test_a_command_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", "no-such-command", "--option"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 127
    assert done.stderr == "rlkd guard: no-such-command: No such file or directory\n"
