"""Serves a model for the time of a job: by `vllm serve`, else by `swift deploy`."""

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.own_keys import own_keys
from rlkd_plugin.llm_io.prompting import OWN_TEMPLATE, SERVING, Prompting
from rlkd_plugin.llm_io.server_commands import deploy_command, has_vllm, vllm_command

LONGEST_START = 3600.0
"""Seconds from the start within which a server has to answer; it may fetch its model first."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without the environment's proxy."""
SETS_TEMPLATE = ("--chat-template", "--template", "--generation-config")
"""Options that would overrule a template."""


@dataclass(frozen=True)
class ServedModel:
    """A server's URL, with /v1, and the model's name there."""

    url: str
    name: str


WriteFiles = Callable[[str, Path, str | None], None]
"""Writes the files for `vllm serve` of a model into a folder, with a system prompt or without."""


@contextmanager
def model_server(
    model: str,
    adapter: str,
    options: str,
    log: Path,
    prompting: Prompting = OWN_TEMPLATE,
    write_files: WriteFiles | None = None,
) -> Iterator[ServedModel]:
    """Serve a model on a free port while the body runs.

    vLLM is used where its command is installed. `rlkd_guard` ends the server, and all that it
    started, with us. The model gets a name of its own, so that no other server is taken for ours.

    Args:
        model: a folder or a hub's id.
        adapter: a LoRA's folder, or an empty text.
        options: more of the server's options, as on a command line.
        log: file for its output.
        prompting: how it is to ask the model.
        write_files: writes what vLLM needs for a template; None where `prompting` has none.

    Raises:
        RlkdError: if it ends before it answers, or never does; the message has its last lines. Also
            if the options hold a key.
    """
    given = _read_options(options, prompting)
    name = f"rlkd-{secrets.token_hex(4)}"
    port, group_port = _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}/v1"
    if has_vllm():
        files = None
        if prompting.template and write_files:
            files = log.parent / SERVING
            files.mkdir(exist_ok=True)
            write_files(model, files, prompting.system or None)
        command = vllm_command(model, adapter, port, name, files)
    else:
        command = deploy_command(model, adapter, port, name, prompting)
    command += given
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
                raise RlkdError(own_keys().redact_error(words))
            time.sleep(1)
        yield ServedModel(url, name)
    finally:
        server.terminate()
        server.wait()


def _read_options(options: str, prompting: Prompting) -> list[str]:
    """Return the words of a user's options.

    Raises:
        RlkdError: if a quote is not closed, or a key stands there, which the log would show, or
            another template than the one that the job has.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise RlkdError(f"--server-options cannot be read: {error}") from None
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    if "--api-key" in names:
        raise RlkdError(
            "--server-options must not hold a key: the server is for this job alone, and needs none"
        )
    if prompting.template and (others := [name for name in names if name in SETS_TEMPLATE]):
        raise RlkdError(
            f"--server-options has {others[0]}, and the model is served with the template "
            f"{prompting.template}: leave it out, or give --template model"
        )
    return words


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


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
