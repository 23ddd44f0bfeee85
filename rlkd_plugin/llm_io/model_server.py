"""Starts a server of a model for the time of a job: `vllm serve`, else `swift deploy`."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError

NAME = "model"
"""Under which the model is served."""


@contextmanager
def model_server(model: str, adapter: str, options: str, log: Path) -> Iterator[str]:
    """Serve a model on a free port while the body runs; gives the URL, with /v1.

    vLLM is taken where its command is installed. The server, and all that it started, ends with us.

    Args:
        model: a folder or a hub's id.
        adapter: a LoRA's folder, or nothing.
        options: more of the server's options, as on a command line.
        log: file for its output.

    Raises:
        RlkdError: if it ends before it answers; the message has its last lines.
    """
    port, group_port = _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [*_command(model, adapter, port), *shlex.split(options)]
    guarded = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard", "--server", *command]
    with log.open("wb") as output:
        # `swift deploy` opens a process group, even of one
        env = {**os.environ, "MASTER_PORT": str(group_port)}
        server = subprocess.Popen(guarded, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        while not _answers(url):
            if server.poll() is not None:
                tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:])
                raise RlkdError(
                    f"the server ended: {shlex.join(command)}\n{tail}\n(all of it: {log})"
                )
            time.sleep(1)
        yield url
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _command(model: str, adapter: str, port: int) -> list[str]:
    if shutil.which("vllm"):
        command = ["vllm", "serve", model, "--host", "127.0.0.1", "--port", str(port)]
        if not adapter:
            return [*command, "--served-model-name", NAME]
        return [*command, "--enable-lora", "--lora-modules", f"{NAME}={adapter}"]
    command = [sys.executable, "-m", "swift.cli.deploy", "--model", model, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served_model_name", NAME, "--verbose", "false"]
    command += ["--infer_backend", "transformers", "--max_batch_size", "16"]
    return [*command, *(["--adapters", adapter] if adapter else [])]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5):
            return True
    except OSError:
        return False
