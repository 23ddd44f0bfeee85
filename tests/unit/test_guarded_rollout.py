"""`rlkd guard --rollout`: the server's output arrives as it was, and a stale server is ended."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rlkd_plugin.rlkd_guard import runs
from tests.support.waiting import LONG, default_signals, wait_for
from tools.stand_ins.places import ROOT

FAILED = "[ERROR:swift] Method execution failed: collective_rpc"
"""As `swift/pipelines/infer/rollout.py` logs it."""


@contextmanager
def guarded(code: str, *words: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen]:
    """Run Python code under the guard, and leave nothing of it."""
    command = [sys.executable, "-m", "rlkd_plugin.rlkd_guard", "--rollout"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", f"import os, sys, time\n{code}", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        preexec_fn=default_signals,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def test_all_bytes_of_both_streams_arrive_also_at_a_slow_reader(tmp_path: Path) -> None:
    """More than the pipes hold, no text, no line's end; it ends while much is unread."""
    code = (
        "data = os.urandom(3_000_000)\n"
        "open(sys.argv[1], 'wb').write(data)\n"
        "os.write(2, b'half a line')\n"
        "sys.stdout.buffer.write(data)"
    )
    file = tmp_path / "data"
    with guarded(code, str(file)) as process:
        assert process.stdout and process.stderr
        wait_for(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 2, "it runs")
        out, err = process.stdout.read(), process.stderr.read()
        assert process.wait(LONG) == 1  # a server that ends
    assert hashlib.sha256(out).digest() == hashlib.sha256(file.read_bytes()).digest()
    assert err == b"half a linerlkd guard: the server has ended\n"


def test_a_partial_line_arrives_at_once(tmp_path: Path) -> None:
    """The command goes on only when its half line was read."""
    code = (
        "os.write(1, b'50%')\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"
        "os.write(1, b'\\r100%')"
    )
    with guarded(code, str(tmp_path / "read")) as process:
        assert process.stdout
        assert os.read(process.stdout.fileno(), 3) == b"50%"
        (tmp_path / "read").touch()
        assert process.stdout.read() == b"\r100%"


def test_two_streams_into_one_place_keep_their_order() -> None:
    code = "for i in range(2000): os.write(1 + i % 2, b'%d\\n' % i)"
    with guarded(code, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        *lines, last = process.stdout.read().decode().splitlines()
    assert lines == [str(i) for i in range(2000)]
    assert last == "rlkd guard: the server has ended"


@pytest.mark.parametrize("stream", [1, 2])
def test_a_server_that_does_not_take_the_weights_is_ended(stream: int) -> None:
    """The line comes in two parts; what stands below it arrives too."""
    code = (
        f"os.write({stream}, b'{FAILED[:30]}'); time.sleep(0.1)\n"
        f"os.write({stream}, b'{FAILED[30:]}\\nTraceback ...\\nValueError: no\\n')\n"
        "time.sleep(600)"
    )
    with guarded(code) as process:
        assert process.stdout and process.stderr
        wait_for(lambda: psutil.Process(process.pid).children(recursive=True), "it runs")
        there = psutil.Process(process.pid).children(recursive=True)
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
        assert process.wait(LONG) == 1
    passed = out if stream == 1 else err
    assert passed.startswith(f"{FAILED}\nTraceback ...\nValueError: no\n")
    assert err.splitlines()[-1].startswith(
        f"rlkd guard: the rollout server did not load the student's weights ({FAILED}): it is "
    )
    assert not any(map(runs, there))


def test_a_server_that_says_so_and_ends_with_0_is_an_error() -> None:
    with guarded(f"print('{FAILED}')") as process:
        assert process.stderr
        last = process.stderr.read().decode().splitlines()[-1]
        assert process.wait(LONG) == 1
    assert last.startswith("rlkd guard: the rollout server did not load")


def test_other_failures_are_not_those_of_weights(tmp_path: Path) -> None:
    """Of `infer` the trainer learns by the reply; other people's words are no log."""
    lines = [
        "[ERROR:swift] Method execution failed: infer",
        "[ERROR:swift] Method execution failed: reset_encoder_cache",
        "Method execution failed: collective_rpc, said the student",
    ]
    with guarded(f"print({chr(10).join(lines)!r})\nsys.exit(7)") as process:
        assert process.stderr
        assert process.stderr.read() == b""
        assert process.wait(LONG) == 7


def test_a_reader_that_is_gone_ends_the_command() -> None:
    """As it would without the guard: by SIGPIPE, or an error of its own."""
    with guarded("while True: os.write(1, b'x' * 1000)") as process:
        assert process.stdout and process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert b"BrokenPipeError" in process.stderr.read()
        assert process.wait(LONG) == 1


def test_a_reader_that_does_not_read_holds_no_end_up() -> None:
    with guarded("while True: os.write(1, b'x' * 1000)") as process:
        wait_for(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 2, "it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 128 + signal.SIGTERM
