"""A small model behind `swift deploy`, as GSRM and judge."""

import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.swift_commands import swift_command


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
        stream_structures=False,  # its structures are compared with those of other engines
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
