"""Starts what a measurement or a test runs beside itself: `swift` commands and `swift deploy`."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def swift_command(name: str, options: Mapping[str, object]) -> list[str]:
    """Return the command line of `swift NAME`; a list is an option with several values."""
    spec = find_spec(f"swift.cli.{name}")
    assert spec and spec.origin, f"ms-swift has no command {name}"
    words = [sys.executable, spec.origin]
    for option, value in options.items():
        values = value if isinstance(value, list) else [value]
        words.append(f"--{option}")
        words += [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    return words


@contextmanager
def deploy(model: Path, model_type: str, template: str, max_tokens: int) -> Iterator[ServerEngine]:
    """Start `swift deploy` in float32, and yield an engine whose GSRM and judge it is.

    Args:
        model: the folder of the model.
        model_type: ms-swift's name of its architecture.
        template: ms-swift's name of its chat template.
        max_tokens: most tokens of a structure.
    """
    port = free_port()
    options = {
        "model": model,
        "model_type": model_type,
        "template": template,
        "infer_backend": "transformers",
        "torch_dtype": "float32",
        "host": "127.0.0.1",
        "port": port,
        "served_model_name": "gsrm",
        "verbose": False,
    }
    url = f"http://127.0.0.1:{port}/v1"
    settings = Settings(
        gsrm_base_url=(url,),
        gsrm_model="gsrm",
        gsrm_max_tokens=max_tokens,
        judge_base_url=(url,),
        judge_model="gsrm",
        request_timeout=3600,
    )
    env = {**os.environ, "MASTER_PORT": str(free_port())}  # ms-swift opens a process group of one
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            swift_command("deploy", options), stdout=log, stderr=subprocess.STDOUT, env=env
        )
        try:
            while not _answers(f"{url}/models"):
                if server.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"swift deploy ended: {log.read().decode()[-2000:]}")
                time.sleep(1)
            yield ServerEngine(settings)
        finally:
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url).close()
    except OSError:
        return False
    return True
