"""Runs the real `swift` commands on the CPU, for the tests, and reads what they leave."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tests.support.warm_runs import Run, WarmRuns
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.swift_commands import option_words

THREADS = 1
"""Threads of a process: small models gain nothing by more, and sums stay the same everywhere."""
LONGEST_RUN = 1000.0
"""Seconds after which a run is taken for hung; none takes a twentieth of it alone."""
WARM = WarmRuns()
PLUGIN = "rlkd_plugin/register.py"

GLOO = """
import atexit
import deepspeed
import deepspeed.comm.torch as transport
import torch.distributed as dist
transport.build_shm_op = lambda: None  # it would be compiled; devices have none
deepspeed.init_distributed(dist_backend="gloo")
# a process that ends with the group's threads running may abort
atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
"""
"""A plugin file that lets ranks on CPUs use DeepSpeed."""

FLOAT32: dict[str, Any] = {"torch_dtype": "float32", "fp16": False, "bf16": False}
"""Options that make ms-swift compute in float32; the type alone means float16 by autocast."""
ONE_STEP_A_LINE: dict[str, Any] = {
    "logging_steps": 1,
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": False,
    "dataloader_num_workers": 0,
    "report_to": "none",
    "check_model": False,
    "use_cpu": True,
    "add_version": False,
}
"""Options of a short run whose every step is logged, without workers and without any network."""
SMALL_MODEL: dict[str, Any] = {
    "model": MODEL,
    "model_type": "llama",
    "template": "chatml",
    "torch_dtype": cpu_dtype(),
}
"""Options of SmolLM2-135M-Instruct, whose template ms-swift cannot tell by itself."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run: ours without the plugin's settings, and what it needs."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RLKD_")}
    ours = {"OMP_NUM_THREADS": str(THREADS), "MASTER_PORT": str(free_port())}
    return {**clean, **ours, **more}


def run_script(
    script: Path | str,
    words: list[str],
    cwd: Path = ROOT,
    ranks: int = 0,
    code: int = 0,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a script to its end, forked from the warm process, and return its output.

    Raises:
        AssertionError: if its exit status is not `code`; the message ends with its output's end.
    """
    with tempfile.NamedTemporaryFile() as output:
        run = Run(
            script=str(script),
            arguments=words,
            folder=str(cwd),
            environment=environment(env or {}),
            output=output.name,
            ranks=ranks,
            timeout=LONGEST_RUN,
        )
        status = WARM.run(run)
        said = output.read().decode("utf-8", errors="replace")
    assert status == code, f"exit status {status}: {said[-4000:]}"
    return said


def swift(
    command: str,
    *words: str,
    cwd: Path = ROOT,
    ranks: int = 0,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> str:
    """Run the file of `swift COMMAND`, forked from the warm process, and return its output.

    Raises:
        AssertionError: if its exit status is not `code`; the message ends with its output's end.
    """
    spec = find_spec(f"swift.cli.{command}")
    assert spec is not None and spec.origin is not None
    return run_script(spec.origin, [*words, *option_words(options)], cwd, ranks, code, env)


def swift_as_typed(command: str, *, cwd: Path, env: Mapping[str, str], **options: Any) -> str:
    """Run `swift COMMAND` as a user types it, imports and all, and return its output."""
    done = subprocess.run(
        [Path(sys.executable).with_name("swift"), command, *option_words(options)],
        cwd=cwd,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_RUN,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def grpo_options(out: Path, steps: int = 2, **options: Any) -> dict[str, Any]:
    """Return the options of a short GRPO run with the structure reward, four completions a step."""
    return {
        "rlhf_type": "grpo",
        "external_plugins": PLUGIN,
        **SMALL_MODEL,
        **ONE_STEP_A_LINE,
        "tuner_type": "lora",
        "dataset": "rlkd/demo#8",
        "reward_funcs": ["accuracy", "format", "rlkd_gsrm"],
        "callbacks": "rlkd_metrics",
        "num_generations": 4,
        "temperature": 0.7,
        "per_device_train_batch_size": 4,
        "max_completion_length": 48,
        "beta": 0,
        "max_steps": steps,
        "save_steps": steps,
        "log_completions": True,
        "output_dir": out,
        **options,
    }


def grpo(
    out: Path,
    *,
    steps: int = 2,
    cwd: Path = ROOT,
    ranks: int = 0,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> str:
    """Run a short `swift rlhf` GRPO with the structure reward; return its output."""
    words = grpo_options(out, steps, **options)
    return swift("rlhf", cwd=cwd, ranks=ranks, code=code, env=env, **words)


def tiny_options(model: Path) -> dict[str, Any]:
    """Return the options of a model of `tiny_model`, in float32; they replace `SMALL_MODEL`."""
    return {"model": model, "model_type": "qwen2", "template": "chatml", **FLOAT32}


def rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def steps_logged(out: Path) -> list[dict[str, Any]]:
    """Return the log lines of the training steps of a run."""
    return [row for row in rows(out / "logging.jsonl") if "reward" in row]
