"""ms-swift's own servers end where they would go on unseen: a failed weight sync, a taken port."""

import importlib.util
import logging
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io import ports
from rlkd_plugin.llm_io.ports import check_port, free_port
from rlkd_plugin.swift_hooks.swift_servers import FailedSyncs
from tools.stand_ins.places import ROOT

SERVER = """
import multiprocessing, time, traceback
from swift.utils import get_logger
from rlkd_plugin.swift_hooks.swift_servers import watch_swift_servers

def worker(pipe):  # as `llm_worker` of swift/pipelines/infer/rollout.py
    while method_name := pipe.recv():
        try:
            raise KeyError("no such parameter")
        except Exception:
            get_logger().error(f"Method execution failed: {method_name}\\n{traceback.format_exc()}")
        pipe.send("goes on")

watch_swift_servers()
watch_swift_servers()
ours, theirs = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=worker, args=(theirs,))
process.start()
theirs.close()
for method in ("infer", "reset_encoder_cache", "collective_rpc"):
    ours.send(method)
    try:
        print(method, ours.recv(), flush=True)
    except EOFError:
        print(method, "ends", flush=True)
process.join()
print("the worker's status:", process.exitcode, flush=True)
time.sleep(600)  # until it is ended
"""


def test_a_message_that_cannot_be_formatted_raises_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The handler is on ms-swift's logger in the trainer too: a wrong message must not end it."""
    record = logging.LogRecord("swift", logging.ERROR, "f", 1, "%d steps", ("ten",), None)
    FailedSyncs(logging.ERROR).handle(record)
    assert "'%d steps'" in capsys.readouterr().err


def test_a_worker_whose_weight_sync_failed_ends_its_server() -> None:
    done = subprocess.run([sys.executable, "-c", SERVER], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    # the signal may come before the rest is printed
    assert done.stdout.splitlines()[:2] == ["infer goes on", "reset_encoder_cache goes on"]
    sentences = [line for line in done.stderr.splitlines() if "rlkd:" in line]
    assert len(sentences) == 1
    assert (
        "rlkd: the rollout server did not load the student's weights (KeyError: 'no such "
        "parameter'): it is stopped" in sentences[0]
    )


def test_what_the_watch_reads_is_what_the_workers_log() -> None:
    """Both workers pass over what fails; a method that is new here has to be thought about."""
    spec = importlib.util.find_spec("swift.pipelines.infer.rollout")
    assert spec and spec.origin
    source = Path(spec.origin).read_text("utf-8")
    line = r"logger.error(f'Method execution failed: {method_name}\n{traceback.format_exc()}')"
    assert source.count(line) == source.count("method_name = command['method']") == 2
    sent = re.findall(r"'type': '\w+',\s*'method': '?(\w+)", source)
    assert set(sent) == {
        "collective_rpc",
        "reset_prefix_cache",
        "reset_encoder_cache",
        "reset_mm_cache",
        "method",  # infer or async_infer
    }


def test_a_port_that_another_listens_on_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        with pytest.raises(
            RlkdError, match=rf"port {port} cannot be used \(Address already in use"
        ):
            check_port(port)
    assert check_port(port) == port
    assert check_port(0) > 0


def test_a_port_whose_connections_are_still_closing_is_free() -> None:
    """The end that closes first keeps its port in TIME_WAIT: a server that was just stopped."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as all servers do
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    with socket.socket() as plain, pytest.raises(OSError, match="Address already in use"):
        plain.bind(("", port))  # as ms-swift tries it
    assert check_port(port) == port


def test_a_server_of_ms_swift_asks_for_the_port_that_it_was_given(tmp_path: Path) -> None:
    """The plugin is loaded while the arguments are read, before ms-swift looks for a port."""
    from swift.arguments import DeployArguments

    from tools.stand_ins.tiny_model import tiny_model

    model = str(tiny_model(tmp_path / "model"))
    words = {"model_type": "qwen2", "template": "chatml", "external_plugins": ["register.py"]}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        with pytest.raises(RlkdError, match=f"port {port} cannot be used"):
            DeployArguments(model=model, port=port, **words)
    assert DeployArguments(model=model, port=port, **words).port == port


def test_a_free_port_is_none_that_the_system_assigns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket of another process could get that one before the server has started."""
    first = free_port()
    assert first in ports.OWN_PORTS
    monkeypatch.setattr(ports, "OWN_PORTS", range(first, first + 1))
    with pytest.raises(RlkdError, match=f"no port from {first} to {first} is free"):
        free_port()  # its server may not listen yet
    ports._returned.clear()
    with socket.create_server(("127.0.0.1", first)), pytest.raises(RlkdError):
        free_port()
    assert free_port() == first
