"""A recipe's Procfile as a user starts it, by honcho, in a copy that this machine can run."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.rlkd_cli.recipe_files import copy_recipe, find_recipe
from rlkd_plugin.rlkd_guard import runs
from tests.support.rollout import VARIABLES, overlay_with_vllm
from tests.support.swift_run import environment
from tests.support.waiting import default_signals
from tools.stand_ins import recipes
from tools.stand_ins.places import MODEL

PORTS = ("8000", "8001", "8002", "29501", "51216")
"""Those of the recipes: rollout, GSRM, judge, trainers, and the weights' way."""
MARK = "PROCFILE_RUN"
"""Variable by which each process of a run is known, wherever it hangs in the tree."""
SILENT = 900.0
"""Seconds without a line after which a run is taken for hung; its length is the machine's."""
SMALL = {
    "STUDENT": "",
    "GSRM": str(MODEL),
    "JUDGE": str(MODEL),
    "CONTEXT": "1024",
    "RLKD_GSRM_PROMPT": "construct",  # the small model was not trained to be a GSRM
    "RLKD_GSRM_REGEX": "true",
    "RLKD_GSRM_MAX_TOKENS": "96",  # twice that when asked again: one step
}


class ProcfileRun:
    """One honcho with all that a Procfile names.

    Only models, lengths, types, devices and ports differ from the recipe; one rank trains.

    Args:
        recipe: its name; its device's Procfiles come with it.
        procfile: the ending of one.
        folder: a new one for the copy.
        student: a small model.
        steps: of the training.
    """

    def __init__(self, recipe: str, procfile: str, folder: Path, student: Path, steps: int) -> None:
        self.folder = folder
        copy_recipe(find_recipe(recipe), folder)
        ports = {port: str(free_port()) for port in PORTS}
        config = recipes.read(folder / f"{recipe}.yaml")
        change = overlay_with_vllm(recipes.overlay(config, folder, student, 64, ""))
        kept = {name for name in change if name.startswith("ENV.")}
        change = {name: value for name, value in change.items() if name not in kept}
        recipes.merge(config, {**change, "max_steps": steps}, folder / f"{recipe}.yaml")
        for file in (folder / f"{recipe}.yaml", folder / f"Procfile.{procfile}"):
            file.write_text(on_this_machine(file.read_text("utf-8"), ports), "utf-8")
        stem = recipe.rpartition("_")[0]
        mine = {**SMALL, "STUDENT": str(student)}
        (folder / "mine.env").write_text("".join(f"{k}={v}\n" for k, v in mine.items()))
        self.log = folder / "honcho.log"
        variables = {**VARIABLES, MARK: str(folder), "RLKD_CACHE_DIR": str(folder / "cache")}
        with self.log.open("wb") as output:
            self.honcho = subprocess.Popen(
                ["honcho", "-e", f"{stem}.env,mine.env", "-f", f"Procfile.{procfile}", "start"],
                cwd=folder,
                env=environment(variables),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=default_signals,
            )

    def __enter__(self) -> "ProcfileRun":
        return self

    def __exit__(self, *error: object) -> None:
        self.honcho.send_signal(signal.SIGTERM)
        self.honcho.wait()

    @property
    def out(self) -> Path:
        """The folder of the training."""
        return sorted((self.folder / "out").glob("v*-*"))[-1]

    def said(self, name: str = "") -> str:
        """Return the lines of the log, or of one process, without honcho's own words."""
        text = self.log.read_text("utf-8", errors="replace")
        text = re.sub(r"\x1b\[[\d;]*m", "", text)
        return "\n".join(line for line in text.splitlines() if f" {name}" in line)

    def steps(self) -> list[str]:
        """Return the steps that ms-swift has logged."""
        files = list((self.folder / "out").glob("v*-*/logging.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line["global_step/max_steps"] for line in lines if "reward" in line]

    def wait_for(self, state: Callable[[], bool], what: str) -> None:
        """Wait for a state of the run, as long as any of its processes says something.

        Raises:
            AssertionError: if nothing is said for long; `what` says what was waited for.
        """
        size, since = -1, time.monotonic()
        while not state():
            if (now := self.log.stat().st_size) != size:
                size, since = now, time.monotonic()
            waited = time.monotonic() - since
            assert waited < SILENT, f"{what}: silent for {SILENT:g} s\n{self.said()[-6000:]}"
            time.sleep(0.2)

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        self.wait_for(lambda: self.has_ended, "the end")
        return self.honcho.returncode

    @property
    def has_ended(self) -> bool:
        """Whether honcho has ended."""
        return self.honcho.poll() is not None

    def left(self) -> list[psutil.Process]:
        """Return the processes of the run that are there."""
        found = []
        mark = f"{MARK}={self.folder}\0".encode()
        for process in psutil.process_iter():
            try:
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes():
                    found.append(process)
            except OSError:  # it ended meanwhile
                continue
        return [process for process in found if runs(process)]


def on_this_machine(text: str, ports: Mapping[str, str]) -> str:
    """Return a Procfile or YAML with other ports, lengths and types, and one rank."""
    for port, free in ports.items():
        text = re.sub(rf"\b{port}\b", free, text)
    text = re.sub(r"--max-model-len \d+", "--max-model-len 4096 --enforce-eager", text)
    text = text.replace("bfloat16", "float32").replace("NPROC_PER_NODE=4", "NPROC_PER_NODE=1")
    text = text.replace("=1,2,3,4 ", "=1 ")
    rollout = "swift rollout --model $STUDENT"
    return text.replace(rollout, f"{rollout} --model_type qwen2 --vllm_enforce_eager true")
