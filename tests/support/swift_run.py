"""Runs the real `swift` commands on the CPU with the small real model, for the tests."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import MODEL, ROOT

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
"""Threads of a process: two at once on two cores slow each other down many times."""


GLOO = """
import atexit
import deepspeed
import torch.distributed as dist
deepspeed.init_distributed(dist_backend="gloo")
# a process that ends with the group's threads running may abort
atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
"""
"""A plugin file that lets ranks on CPUs use DeepSpeed."""


def free_port() -> int:
    """Return a port that nobody listens on now; a process group of one rank takes one too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def threads_and_port(ranks: int) -> dict[str, str]:
    """Return what two runs at once on one machine must not share."""
    return {
        "OMP_NUM_THREADS": str(THREADS if ranks == 1 else 1),
        "MASTER_PORT": str(free_port()),
    }


def swift(
    command: str, *options: str, cwd: Path = ROOT, ranks: int = 1, code: int = 0, **env: str
) -> str:
    """Run `swift COMMAND` to its end and return its output.

    The command's file is run itself, as the `swift` wrapper does, so that no child outlives us.

    Raises:
        AssertionError: if its exit status is not `code`; the message ends with its output's end.
    """
    script = find_spec(f"swift.cli.{command}").origin
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RLKD_")}
    done = subprocess.run(
        [*launcher, script, *options],
        cwd=cwd,
        env={**clean, **threads_and_port(ranks), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


def grpo(plugin: str, out: Path, *options: str, steps: int = 2, **run: Any) -> str:
    """Run a short `swift rlhf` GRPO of the small model with the structure reward."""
    return swift(
        "rlhf",
        *["--rlhf_type", "grpo", "--external_plugins", plugin, "--model", str(MODEL)],
        *["--model_type", "llama", "--template", "chatml", "--check_model", "false"],
        *["--torch_dtype", cpu_dtype(), "--use_cpu", "true", "--tuner_type", "lora"],
        *["--dataset", "rlkd/demo#8", "--reward_funcs", "accuracy", "format", "rlkd_gsrm"],
        *["--callbacks", "rlkd_metrics", "--num_generations", "4", "--temperature", "0.7"],
        *["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1"],
        *["--max_completion_length", "48", "--beta", "0", "--gradient_checkpointing", "false"],
        *["--max_steps", str(steps), "--save_steps", str(steps), "--logging_steps", "1"],
        *["--report_to", "none", "--log_completions", "true"],
        *["--output_dir", str(out), "--add_version", "false", *options],
        **run,
    )


def rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def steps_logged(out: Path) -> list[dict[str, Any]]:
    """Return the log lines of the training steps of a run."""
    return [row for row in rows(out / "logging.jsonl") if "reward" in row]
