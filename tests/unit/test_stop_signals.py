"""How a command ends on Ctrl-C and SIGTERM: in order, or at once, and never with a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.rlkd_cli import app
from tests.support.json_server import serving
from tests.support.row_lines import write
from tests.support.waiting import default_signals, wait_for

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import asyncio, os, signal, sys, threading, time
sys.path.append(sys.argv[2])
from rlkd_plugin.rlkd_cli.stop_signals import (
    exit_code, orderly_stop, run_command, run_stoppable, signals_end_at_once
)

def tell(kill=os.kill, pid=os.getpid(), number=int(sys.argv[1])):
    kill(pid, number)

def in_order(work):
    try:
        with orderly_stop():
            work()
    except KeyboardInterrupt:
        print("stopped")
        raise SystemExit(exit_code()) from None
"""
TWICE = """
    except BaseException:
        print("stopping")
        tell()
        print("never said")
"""
PHASES = {
    "the package is imported": ("with signals_end_at_once():\n    tell()", []),
    "the command line is read": ("run_command(tell)", []),
    "a module is imported": ("run_command(lambda: in_order(lambda: __import__('tells')))", []),
    "it works": ("run_command(lambda: in_order(tell))", ["stopped"]),
    "it has printed": (
        "def work():\n    print('one')\n    tell()\nrun_command(lambda: in_order(work))",
        ["one", "stopped"],
    ),
    "it ends after a first one": (
        "def work():\n    try:\n        tell()" + TWICE + "run_command(lambda: in_order(work))",
        ["stopping"],
    ),
    "its loop ends after a first one": (
        "async def work():\n    try:\n        tell()\n        await asyncio.sleep(99)"
        + TWICE
        + "run_command(lambda: in_order(lambda: run_stoppable(work())))",
        ["stopping"],
    ),
    "it has ended its work": ("def work():\n    in_order(int)\n    tell()\nrun_command(work)", []),
    "a thread of it waits": (
        "def work():\n    threading.Thread(target=time.sleep, args=[99]).start()\n    tell()\n"
        "run_command(lambda: in_order(work))",
        ["stopped"],
    ),
    "a library makes another error of it": (
        "def work():\n    try:\n        tell()\n    except KeyboardInterrupt:\n"
        "        raise ImportError('multiarray failed')\nrun_command(lambda: in_order(work))",
        [],
    ),
    "an object is finalized": (
        "class Final:\n    def __del__(self):\n        tell()\n"
        "def work():\n    Final()\n    print('never said')\nrun_command(lambda: in_order(work))",
        [],
    ),
    "its loop works": (
        "async def work():\n    try:\n        tell()\n        await asyncio.sleep(99)\n"
        "    finally:\n        print('closed')\n"
        "run_command(lambda: in_order(lambda: run_stoppable(work())))",
        ["closed", "stopped"],
    ),
    "the last task of its loop has ended": (
        "async def work():\n    tell()\n"
        "def both():\n    run_stoppable(work())\n    print('the next')\n"
        "run_command(lambda: in_order(both))",
        ["stopped"],
    ),
    "its loop opens": (
        "async def work():\n    print('never said')\n"
        "run = asyncio.run\nasyncio.run = lambda task: (tell(), run(task))[1]\n"
        "run_command(lambda: in_order(lambda: run_stoppable(work())))",
        ["stopped"],
    ),
}


def run(
    code: str, number: int, folder: Path, before: Callable[[], None] = default_signals
) -> "subprocess.CompletedProcess[str]":
    """Run code that may `tell()` its own process a signal."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code, str(int(number)), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=before,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("phase", PHASES)
def test_a_command_ends_without_a_traceback_when(
    phase: str, number: int, code: int, tmp_path: Path
) -> None:
    (tmp_path / "tells.py").write_text("import __main__\n__main__.tell()\nprint('never said')")
    program, said = PHASES[phase]
    done = run(program, number, tmp_path)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (code, said, "")


def test_the_exit_code_stays_while_python_clears_up(tmp_path: Path) -> None:
    code = """
class Late:
    def __del__(self, tell=tell):
        tell()
def work():
    sys.late = Late()
    print("done")
run_command(work)
"""
    for number in (signal.SIGINT, signal.SIGTERM):
        done = run(code, number, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_forked_process_ends_alone(tmp_path: Path) -> None:
    """Nor does it print again what the command has not yet shown."""
    code = """
def work():
    print("once")
    pid = os.fork()
    if not pid:
        tell(pid=os.getpid())
        print("never said")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143
    print("goes on")
run_command(lambda: in_order(work))
"""
    done = run(code, signal.SIGTERM, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\ngoes on\n", "")


def test_a_signal_that_the_shell_ignores_stays_ignored(tmp_path: Path) -> None:
    """As Ctrl-C is for a job in the background."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    code = "def work():\n    tell()\n    print('goes on')\nrun_command(lambda: in_order(work))"
    assert run(code, signal.SIGINT, tmp_path, ignore).stdout == "goes on\n"
    done = run(PHASES["its loop works"][0], signal.SIGTERM, tmp_path, ignore)
    assert (done.returncode, done.stdout) == (143, "closed\nstopped\n")


def test_an_error_without_a_signal_is_shown(tmp_path: Path) -> None:
    code = "def work():\n    raise ValueError('ours')\nrun_command(lambda: in_order(work))"
    done = run(code, signal.SIGINT, tmp_path)
    assert done.returncode == 1
    assert "ValueError: ours" in done.stderr


def test_who_calls_a_command_from_python_keeps_his_signals() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert CliRunner().invoke(app, ["path"]).exit_code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_whose_server_does_not_answer_stops_with_its_account(
    number: int, code: int, times: int, tmp_path: Path
) -> None:
    """The second of two signals may end it before it has said anything."""
    asked: list[str] = []

    def answer(method: str, path: str, body: dict) -> tuple[int, object]:
        if method == "GET":
            return 404, {}
        asked.append(path)
        wait_for(lambda: job.poll() is not None, "the job has ended")
        return 503, {}

    row = {"problem": "P", "domain": "math", "reasoning_path": "It is 5."}
    with serving(answer) as url:
        roles = ("GENERATOR", "VERIFIER")
        env = {f"RLKD_{role}_BASE_URL": f"{url}/v1" for role in roles}
        env |= {f"RLKD_{role}_MODEL": "m" for role in roles}
        source = write(tmp_path / "in.jsonl", row)
        words = ["construct", str(source), str(tmp_path / "out.jsonl")]
        job = subprocess.Popen(
            [sys.executable, "-m", "rlkd_plugin.rlkd_cli", *words],
            cwd=ROOT,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=default_signals,
        )
        wait_for(lambda: asked, "the job has asked its server")
        for _ in range(times):
            job.send_signal(number)
        said, errors = job.communicate(timeout=60)
    assert (job.returncode, errors) == (code, "")
    if times == 1:
        assert "1 row" in said and "\nstopped (" in said
    assert sorted(file.name for file in tmp_path.iterdir() if "out" in file.name) == []
