"""Runs scripts as processes of their own, forked from one that has imported ms-swift already.

A `swift` command spends 8 to 10 s on imports. Here they are paid once: `WarmRuns` starts a process
that imports what every run imports and does nothing else, and forks it for each run. A fork gets
its own session, folder, environment, arguments and output, runs the script's file as `__main__`,
plugins and all, and ends as any process does. What a fork cannot show is the start itself: a
variable that a library reads while it is imported, or a missing import. Tests of these start
`swift` as a user does.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

IMPORTED = """
swift.pipelines swift.cli.main swift.rlhf_trainers.grpo_trainer swift.rlhf_trainers.ppo_trainer
swift.loss swift.loss_scale swift.callbacks swift.rewards trl peft deepspeed math_verify
transformers.models.llama.modeling_llama transformers.models.qwen2.modeling_qwen2
transformers.trainer accelerate.utils pandas
""".split()
"""Modules that runs need; each is a library's, none the plugin's."""
ENDS_TOGETHER = 5.0
"""Seconds that other ranks have to end by themselves when one has failed, as torchrun does it."""


@dataclass(frozen=True)
class Run:
    """One run of a script.

    Attributes:
        script: Python file.
        arguments: of its command line.
        folder: working directory.
        environment: the whole of it, without the variables of a rank.
        output: file for what all ranks write.
        ranks: processes with torchrun's variables; 0 for one process without them.
        timeout: seconds after which all are killed.
    """

    script: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    output: str
    ranks: int
    timeout: float


class WarmRuns:
    """The process that has imported everything; started at the first run, ended with `close`."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None

    def run(self, run: Run) -> int:
        """Run to the end; return the exit status of the first rank that failed, -n for signal n.

        Raises:
            TimeoutError: if it took longer than it may.
        """
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                text=True,
            )
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(asdict(run)) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        assert answer, "the warm process has ended"
        status = json.loads(answer)
        if status is None:
            raise TimeoutError(f"{run.script} {run.arguments[:3]} took over {run.timeout} s")
        return status

    def close(self) -> None:
        """End the process; runs are over by then."""
        if self.server is not None:
            self.server.communicate()


def serve() -> None:
    """Fork once a rank for each line of standard input, and answer with the exit status."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a library prints may get between the answers
    gc.disable()
    for name in IMPORTED:
        __import__(name)
    gc.freeze()  # a fork's collector would go through all of this, and copy its pages
    for line in sys.stdin:
        run = Run(**json.loads(line))
        restore_folders()
        pids = {}
        for rank in range(max(1, run.ranks)):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                become(run, rank)  # does not return
            pids[pid] = rank
        print(json.dumps(wait(pids, run.timeout)), file=answers, flush=True)


def restore_folders() -> None:
    """Make W&B's folder for tables: an import makes it, and the end of each fork removes it."""
    module = sys.modules.get("wandb.sdk.data_types._private")
    if module is not None:
        Path(module.MEDIA_TMP.name).mkdir(exist_ok=True)


def become(run: Run, rank: int) -> None:
    """Run the script in this process, and end it."""
    import torch

    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(run.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((nothing, output, output)):
        os.dup2(file, number)
    os.chdir(run.folder)
    os.environ.clear()
    os.environ.update(run.environment)
    if run.ranks:
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": run.ranks}
        os.environ.update({name: str(value) for name, value in ranks.items()})
        os.environ.update(LOCAL_WORLD_SIZE=str(run.ranks), MASTER_ADDR="127.0.0.1")
    gc.enable()
    torch.set_num_threads(int(run.environment["OMP_NUM_THREADS"]))
    sys.argv = [run.script, *run.arguments]
    sys.path[0] = str(Path(run.script).resolve().parent)
    runpy.run_path(run.script, run_name="__main__")
    sys.exit(0)


def wait(pids: dict[int, int], timeout: float) -> int | None:
    """Wait for all ranks; return the first status that is not 0, None if it took too long."""
    status = 0
    deadline = time.monotonic() + timeout
    late = False
    while pids:
        pid, ended = os.waitpid(-1, os.WNOHANG)
        if pid:
            del pids[pid]
            code = os.waitstatus_to_exitcode(ended)
            if code and not status:
                status, deadline = code, min(deadline, time.monotonic() + ENDS_TOGETHER)
            continue
        if time.monotonic() > deadline:
            late = late or not status
            for left in pids:
                os.killpg(left, signal.SIGKILL)
        time.sleep(0.02)
    return None if late else status


if __name__ == "__main__":
    serve()
