"""Serves a model while a job runs, with `vllm serve` or else `swift deploy`."""

import json
import os
import secrets
import shlex
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
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.prompting import OWN_TEMPLATE, SERVING, Prompting
from rlkd_plugin.llm_io.server_commands import deploy_command, has_vllm, vllm_command

LONGEST_START = 3600.0
"""Most seconds until a server answers; it may download its model first."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without a proxy."""
SETS_TEMPLATE = ("--chat-template", "--template", "--generation-config")
"""Options that would override a template."""


@dataclass(frozen=True)
class ServedModel:
    """A server's URL, with /v1, and the model's name there."""

    url: str
    name: str


WriteFiles = Callable[[str, Path, str | None], None]
"""Writes the files for `vllm serve`, given model, folder and system prompt or None."""


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

    vLLM is used if its command is installed. `rlkd_guard` ends the server and its child processes
    together with this process. The model gets a unique name, so that no other server is mistaken
    for this one.

    Args:
        model: a folder or a hub's id.
        adapter: a LoRA's folder, or empty.
        options: further server options, as on a command line.
        log: file for its output.
        prompting: the template.
        write_files: writes the files that vLLM needs for a template; None without a template.

    Raises:
        RlkdError: if it does not start, with the last lines of its log; also if the options hold
            a key.
    """
    given = _read_options(options, prompting)
    name = f"rlkd-{secrets.token_hex(4)}"
    port, group_port = free_port(), free_port()
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
        # `swift deploy` opens a process group, even for one process
        env = {**os.environ, "MASTER_PORT": str(group_port)}
        server = subprocess.Popen(guarded, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        begin = time.monotonic()
        while not _serves(url, name):
            if server.poll() is not None or time.monotonic() - begin > LONGEST_START:
                tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:])
                words = (
                    f"the server did not start: {shlex.join(command)}\n{tail}\n(full log: {log})"
                )
                raise RlkdError(own_keys().redact_error(words))
            time.sleep(1)
        yield ServedModel(url, name)
    finally:
        server.terminate()
        server.wait()


def _read_options(options: str, prompting: Prompting) -> list[str]:
    """Return a user's options as words.

    Raises:
        RlkdError: if a quote is not closed, if there is a key, which the log would show, or if
            another template than the job's is given.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise RlkdError(f"--server-options cannot be read: {error}") from None
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    if "--api-key" in names:
        raise RlkdError(
            "--server-options must not hold a key: remove --api-key; only this job uses the server"
        )
    if prompting.template and (others := [name for name in names if name in SETS_TEMPLATE]):
        raise RlkdError(
            f"--server-options has {others[0]}, but the model is served with the template "
            f"{prompting.template}: remove the option, or give --template model"
        )
    return words


def _serves(url: str, name: str) -> bool:
    """Return whether the server has the model, without a key and without a proxy."""
    try:
        with DIRECT.open(f"{url}/models", timeout=5) as reply:
            return any(model["id"] == name for model in json.load(reply)["data"])
    except urllib.error.HTTPError as error:
        raise RlkdError(
            f"{url}/models answers HTTP {error.code}; serve without a key, or give --url"
        ) from None
    except OSError:
        return False
