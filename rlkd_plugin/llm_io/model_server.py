"""Serves a model for the time of a job: by `vllm serve`, else by `swift deploy`."""

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.own_keys import own_keys

LONGEST_START = 3600.0
"""Seconds from the start within which a server has to answer; it may fetch its model first."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `--max-lora-rank`."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without the environment's proxy."""


@dataclass(frozen=True)
class ServedModel:
    """A server's URL, with /v1, and the model's name there."""

    url: str
    name: str


@contextmanager
def model_server(model: str, adapter: str, options: str, log: Path) -> Iterator[ServedModel]:
    """Serve a model on a free port while the body runs.

    vLLM is used where its command is installed. `rlkd_guard` ends the server, and all that it
    started, with us. The model gets a name of its own, so that no other server is taken for ours.

    Args:
        model: a folder or a hub's id.
        adapter: a LoRA's folder, or an empty text.
        options: more of the server's options, as on a command line.
        log: file for its output.

    Raises:
        RlkdError: if it ends before it answers, or never does; the message has its last lines. Also
            if the options hold a key.
    """
    given = _read_options(options)
    name = f"rlkd-{secrets.token_hex(4)}"
    port, group_port = _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [*_command(model, adapter, port, name), *given]
    guarded = [sys.executable, "-m", "rlkd_plugin.rlkd_guard", "--server", *command]
    with log.open("wb") as output:
        # `swift deploy` opens a process group, even of one
        env = {**os.environ, "MASTER_PORT": str(group_port)}
        server = subprocess.Popen(guarded, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        begin = time.monotonic()
        while not _serves(url, name):
            if server.poll() is not None or time.monotonic() - begin > LONGEST_START:
                tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:])
                words = f"the server ended: {shlex.join(command)}\n{tail}\n(all of it: {log})"
                raise RlkdError(own_keys().cleanse_error(words))
            time.sleep(1)
        yield ServedModel(url, name)
    finally:
        server.terminate()
        server.wait()


def _read_options(options: str) -> list[str]:
    """Return the words of a user's options.

    Raises:
        RlkdError: if a quote is not closed, or a key stands there, which the log would show.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise RlkdError(f"--server-options cannot be read: {error}") from None
    if any(word.partition("=")[0].replace("_", "-") == "--api-key" for word in words):
        raise RlkdError(
            "--server-options must not hold a key: the server is for this job alone, and needs none"
        )
    return words


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _command(model: str, adapter: str, port: int, name: str) -> list[str]:
    if shutil.which("vllm"):
        command = ["vllm", "serve", model, "--host", "127.0.0.1", "--port", str(port)]
        # else the model's own generation_config would add a top_k or a repetition penalty
        command += ["--generation-config", "vllm", "--seed", str(secrets.randbelow(2**31))]
        if not adapter:
            return [*command, "--served-model-name", name]
        rank = json.loads((Path(adapter) / "adapter_config.json").read_text("utf-8"))["r"]
        allowed = next((r for r in LORA_RANKS if r >= rank), rank)
        command += ["--enable-lora", "--max-lora-rank", str(allowed)]
        return [*command, "--lora-modules", f"{name}={adapter}"]
    command = [sys.executable, "-m", "swift.cli.deploy", "--model", model, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served_model_name", name, "--verbose", "false"]
    command += ["--infer_backend", "transformers", "--max_batch_size", "16"]
    # what a request leaves open, generation_config.json would fill in; a top_k of 0 too
    command += ["--top_p", "1", "--top_k", "1000000", "--repetition_penalty", "1"]
    if adapter:
        command += ["--adapters", adapter]
    return command


def _serves(url: str, name: str) -> bool:
    """Return whether the server has the model; it is asked without a key and without a proxy."""
    try:
        with DIRECT.open(f"{url}/models", timeout=5) as reply:
            return any(model["id"] == name for model in json.load(reply)["data"])
    except urllib.error.HTTPError as error:
        raise RlkdError(
            f"{url}/models says {error.code}; serve without a key, or use --url"
        ) from None
    except OSError:
        return False
