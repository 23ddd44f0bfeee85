"""A real `swift rollout` on the CPU, and trainers that take its completions."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from rlkd_plugin.llm_io.ports import free_port
from tests.support.loopback import GSRM, JUDGE
from tests.support.swift_run import FLOAT32, environment, run_script
from tests.support.waiting import default_signals, wait_for
from tests.support.weights_log import WeightsLog
from tools.stand_ins import recipes
from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import Config

STAND_INS = ROOT / "tools" / "stand_ins" / "vllm_on_cpu"
ON_CPU = ROOT / "tools" / "stand_ins" / "on_cpu.py"
LENGTH = {"max_completion_length": 48}
LONGEST_START = 600.0
"""Seconds until a server is taken for hung; alone on a machine it is ready in 30."""
VARIABLES = {
    "PYTHONPATH": f"{STAND_INS}{os.pathsep}{ROOT}",
    "VLLM_PLUGINS": "none",  # ms-swift's own imports a model that wants torchvision
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else all servers of a run share one core
    "VLLM_NO_USAGE_STATS": "1",
    "TORCHDYNAMO_DISABLE": "1",  # nothing is compiled for a model of two layers
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What each process with vLLM has in its environment."""


class RolloutServer:
    """`rlkd guard --rollout swift rollout` as the recipes start it, on free ports.

    Args:
        model: a small one.
        folder: for its log.
        words: more options, which win.
        guarded: whether the guard watches what it says; else only its end.
        env: more variables.
    """

    def __init__(
        self,
        model: Path,
        folder: Path,
        *words: str,
        guarded: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.port, self.group_port = free_port(), free_port()
        self.log = folder / "rollout.log"
        self.weights = WeightsLog(folder / "weights.jsonl")
        guard = ["rlkd", "guard", "--rollout" if guarded else "--server"]
        command = ["swift", "rollout", "--model", str(model), "--model_type", "qwen2"]
        command += ["--template", "rlkd_r1", "--external_plugins", "rlkd_plugin/register.py"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--torch_dtype", "float32"]
        command += ["--vllm_max_model_len", "1024", "--vllm_enforce_eager", "true"]
        variables = {"ON_CPU_WEIGHTS_LOG": str(self.weights.file), **(env or {})}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*guard, *command, *words],
                cwd=ROOT,
                env=environment({**VARIABLES, **variables}),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=default_signals,
            )

    def __enter__(self) -> "RolloutServer":
        try:
            wait_for(self._is_ready, f"a rollout server: {self.log}", LONGEST_START)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def said(self) -> str:
        """Return what it has written."""
        return self.log.read_text("utf-8", errors="replace")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.said()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False


Vllm: TypeAlias = RolloutServer | Literal["colocate", "none"]
"""The rollout server of a training; or vLLM in the trainer's own process, or none."""


def overlay(
    config: Config,
    folder: Path,
    model: Path,
    rows: int,
    url: str,
    vllm: Vllm,
) -> Config:
    """Return what changes of a recipe: model, data, lengths, type and ports, and where vLLM is.

    Args:
        config: the recipe.
        folder: where data and outputs go.
        model: a small one.
        rows: of the data set.
        url: of the GSRM's and the judge's server.
        vllm: where it is.
    """
    change = recipes.overlay(config, folder, model, rows, url)
    if vllm == "none":
        return change | FLOAT32 | LENGTH
    change = overlay_with_vllm(change)
    if isinstance(vllm, RolloutServer):
        ports = {"vllm_server_port": vllm.port, "vllm_server_group_port": vllm.group_port}
        return change | ports
    change |= {name: None for name in config if name.startswith("vllm_server_")}
    change |= {"vllm_mode": "colocate", "vllm_max_model_len": 1024}
    return change | {"vllm_enforce_eager": True, "vllm_gpu_memory_utilization": 0.1}


def overlay_with_vllm(change: Config) -> Config:
    """Return an overlay of a recipe that leaves its vLLM as it is, and computes in float32."""
    kept = {name: value for name, value in change.items() if "vllm" not in name}
    return kept | FLOAT32 | LENGTH


def train(
    name: str,
    folder: Path,
    vllm: Vllm,
    *words: str,
    model: Path,
    url: str = "",
    ranks: int = 1,
    code: int = 0,
) -> tuple[Path, str]:
    """Train a recipe; return its output folder and what it wrote.

    Without a server, checksums of the weights stand in `weights.jsonl` of the folder.

    Args:
        name: of the recipe.
        folder: for its data and output.
        vllm: where it is.
        words: more of the command line.
        model: a small one.
        url: of the GSRM's and the judge's server.
        ranks: processes.
        code: the exit status that is right.

    Raises:
        AssertionError: if the exit status is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = recipes.read(ROOT / "swift_configs" / f"{name}.yaml")
    change = overlay(config, folder, model, 16 * ranks, url, vllm)
    file = recipes.merge(config, change, folder / f"{name}.yaml")
    log = vllm.weights.file if isinstance(vllm, RolloutServer) else folder / "weights.jsonl"
    env = {**VARIABLES, "ON_CPU_WEIGHTS_LOG": str(log), "RLKD_CACHE_DIR": str(folder)}
    env |= {"RLKD_GSRM_MODEL": GSRM, "RLKD_JUDGE_MODEL": JUDGE}
    said = run_script(ON_CPU, ["rlhf", str(file), *words], ranks=ranks, code=code, env=env)
    outs = sorted((folder / "out").glob("v*-*")) or [folder / "out"]
    return outs[-1], said
