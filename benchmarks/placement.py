"""Runs a Procfile of a recipe with a real vLLM server on the CPU, and kills each of its parts.

    python -m benchmarks.placement --vllm VENV/bin/vllm

The recipe is `rlkd_cuda.yaml` with the overlay of `tools/stand_ins/recipes.py`: a random student of
two layers, ZeRO-3 on one rank with gloo, no rollout server. vLLM serves SmolLM2-135M-Instruct as
GSRM and as judge; it is untrained, so its prompt has worked examples and a regex holds the form.
honcho runs both, each under `rlkd guard`. Prints the seconds to the end, the steps, and how many
processes are left: those of honcho's tree, and all that have the run's mark in their environment.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.rlkd_guard import runs
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.recipes import merge, overlay, read
from tools.stand_ins.tiny_model import tiny_model

MARK = "RLKD_PLACEMENT_RUN"


class Run:
    """One honcho with a server and a trainer."""

    def __init__(
        self, folder: Path, vllm: str, student: Path, steps: int, resume: str = ""
    ) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.folder = folder
        config = read(ROOT / "swift_configs" / "rlkd_cuda.yaml")
        url = f"http://127.0.0.1:{port}/v1"
        change = {**overlay(config, folder, student, 64, url), "max_steps": steps}
        file = merge(config, change, folder / "rlkd.yaml")
        guard = f"exec {sys.executable} -m rlkd_plugin.rlkd_cli guard"
        (folder / "Procfile").write_text(
            f"models: {guard} --server {vllm} serve {MODEL} --served-model-name gsrm judge "
            f"--dtype bfloat16 --host 127.0.0.1 --port {port} --max-model-len 4096 "
            "--enforce-eager\n"
            f"trainer: {guard} {sys.executable} -m torch.distributed.run --standalone "
            f"--nproc_per_node 1 tools/stand_ins/on_cpu.py rlhf {file} "
            "${RESUME:+--resume_from_checkpoint $RESUME}\n"
        )
        self.mark = f"{MARK}={folder}"
        self.log = folder / "log"
        self.honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "-f", str(folder / "Procfile"), "start"],
            cwd=ROOT,
            env={
                **os.environ,
                MARK: str(folder),
                "RESUME": resume,
                "PYTHONPATH": str(ROOT),
                "RLKD_GSRM_PROMPT": "construct",
                "RLKD_GSRM_REGEX": "true",
                "RLKD_GSRM_MAX_TOKENS": "256",
                "RLKD_CACHE_DIR": str(folder.parent / "cache"),
                "HF_HUB_OFFLINE": "1",
                "VLLM_NO_USAGE_STATS": "1",
                "DO_NOT_TRACK": "1",
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "PYTHONUNBUFFERED": "1",
            },
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def steps(self) -> list[int]:
        """The steps in ms-swift's log."""
        lines = [
            json.loads(line)
            for file in sorted(self.folder.glob("out/v*/logging.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [int(line["global_step/max_steps"].split("/")[0]) for line in lines if "kl" in line]

    def wait(self, ready: Callable[[], bool], seconds: float = 900) -> None:
        """Wait until `ready` returns true, while the run lasts."""
        until = time.monotonic() + seconds
        while not ready():
            if self.honcho.poll() is not None or time.monotonic() > until:
                tail = self.log.read_text().splitlines()[-30:]
                raise SystemExit("\n".join([*tail, "the run ended or hung"]))
            time.sleep(0.5)

    def tree(self) -> set[psutil.Process]:
        """Return honcho's process and all that it started."""
        return {psutil.Process(self.honcho.pid)} | set(
            psutil.Process(self.honcho.pid).children(recursive=True)
        )

    def find(self, *words: str) -> psutil.Process:
        """Return the youngest process of the run with these words in its command or name."""
        found = [
            one
            for one in self.tree()
            if all(word in " ".join([one.name(), *one.cmdline()]) for word in words)
        ]
        return max(found, key=lambda one: one.create_time())

    def marked_processes(self) -> list[psutil.Process]:
        """Return the running processes with the run's mark."""
        found = []
        for one in psutil.process_iter():
            try:
                if self.mark.encode() in Path(f"/proc/{one.pid}/environ").read_bytes():
                    found.append(one)
            except OSError:
                continue
        return [one for one in found if runs(one)]

    def wait_for_end(self, tree: set[psutil.Process], seconds: float = 60) -> tuple[float, int]:
        """Wait until no process is left; return the seconds, and how many are left after all."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            self.honcho.poll()
            if not (left := {one for one in tree if runs(one)} | set(self.marked_processes())):
                break
            time.sleep(0.1)
        return time.monotonic() - start, len(left)


VICTIMS: dict[str, Callable[[Run], tuple[psutil.Process, int]]] = {
    "trainer's rank, SIGKILL": lambda run: (run.find("on_cpu.py", "rlhf"), signal.SIGKILL),
    "trainer's torchrun, SIGKILL": lambda run: (
        run.find("torch.distributed.run", "--standalone"),
        signal.SIGKILL,
    ),
    "vLLM's server, SIGKILL": lambda run: (run.find("vllm", "serve"), signal.SIGKILL),
    "vLLM's engine, SIGKILL": lambda run: (run.find("EngineCore"), signal.SIGKILL),
    "manager, SIGKILL": lambda run: (psutil.Process(run.honcho.pid), signal.SIGKILL),
    "manager, SIGTERM": lambda run: (psutil.Process(run.honcho.pid), signal.SIGTERM),
    "manager, SIGINT": lambda run: (psutil.Process(run.honcho.pid), signal.SIGINT),
}


def main() -> None:
    """Run to the end, resume, then kill each victim in a run of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", required=True, help="the vllm command of a CPU build")
    parser.add_argument("--only", default="", help="kill only those whose name holds this")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        student = tiny_model(folder / "student", [str(openr1(n)) for n in (1, 2)])

        start = time.monotonic()
        run = Run(folder / "whole", given.vllm, student, steps=3)
        run.wait(lambda: 1 in run.steps)
        tree = run.tree()
        code = run.honcho.wait()
        _, left = run.wait_for_end(tree)
        seconds = time.monotonic() - start
        print(
            f"three steps: {run.steps} in {seconds:.0f} s, status {code}, {left} left", flush=True
        )

        (checkpoint,) = run.folder.glob("out/v*/checkpoint-3")
        run = Run(folder / "resumed", given.vllm, student, steps=5, resume=str(checkpoint))
        run.wait(lambda: 4 in run.steps)
        tree = run.tree()
        code = run.honcho.wait()
        _, left = run.wait_for_end(tree)
        print(f"resumed at 3, to 5: {run.steps}, status {code}, {left} left", flush=True)

        for number, (victim, find) in enumerate(VICTIMS.items()):
            if given.only not in victim:
                continue
            run = Run(folder / f"kill{number}", given.vllm, student, steps=100)
            run.wait(lambda run=run: 1 in run.steps)
            tree = run.tree()
            process, sent = find(run)
            process.send_signal(sent)
            seconds, left = run.wait_for_end(tree)
            code = run.honcho.wait(10)
            print(f"{victim}: {len(tree)} processes, after {seconds:.1f} s {left} left, {code}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
