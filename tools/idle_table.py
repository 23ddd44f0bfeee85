"""Calculates how long the phases of an RLKD step last in each placement, and who idles meanwhile.

    python -m tools.idle_table

Nothing here is measured. ms-swift's phases follow one another: weights to the rollout server,
completions, rewards, training. The models are Qwen2's 7B, the batch is that of `rlkd_npu.yaml`, and
what no file says is assumed (`Load`, `Device`). A server is simulated token by token: for each it
reads its weights and the KV cache of what runs, it computes prompts as they come in, and it starts
a request when the cache has room for all of it. GSRM and judge work at the same time: on one device
their times add up, on two the longer one counts. The latencies of network and Python, and the
communication of a split model, are not included.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

from tools.memory_table import BF16, CONFIGS, DEVICE_GB, DEVICES, GIGA, MODEL, SERVER_BESIDE


@dataclass(frozen=True)
class Device:
    """The speed of a device: about a third to two thirds of its maker's figures."""

    read: float = 1.0e12
    """Bytes from its memory."""
    compute: float = 1.2e14
    """Floating-point operations in bfloat16."""
    link: float = 2.0e10
    """Bytes to another device."""


@dataclass(frozen=True)
class Load:
    """The load of a step on its servers, in tokens."""

    shortest: int = 1024
    """Tokens of the shortest completion; lengths are spread evenly up to the recipe's limit."""
    problem: int = 150
    instruction: int = 500
    """Tokens of the GSRM's prompt, beside problem and path."""
    teacher: int = 4000
    """A teacher's path; each prompt has one."""
    structure: int = 800
    verdicts: int = 15
    """Questions to the judge for each completion."""
    verdict: int = 100
    """Tokens of a judge's prompt that its prefix cache does not have."""


DEVICE, LOAD = Device(), Load()


@dataclass(frozen=True)
class Placement:
    """Which servers share a device.

    Attributes:
        title: its row in the table.
        replicas: of the rollout server.
        split: devices over which each replica is split (tensor parallelism).
        rollout: share of a device's memory, as the Procfile gives it.
        gsrm: share of the GSRM.
        together: whether GSRM and judge are on one device.
    """

    title: str
    replicas: int = 1
    split: int = 1
    rollout: float = 0.9
    gsrm: float = 0.9
    together: bool = False


PLACEMENTS = (
    Placement("5", rollout=0.3, gsrm=0.3, together=True),
    Placement("6", rollout=0.45, gsrm=0.45),
    Placement("7"),
    Placement("8", replicas=2),
    Placement("8, rollout split over two", split=2),
)


@dataclass(frozen=True)
class Phases:
    """Seconds of a step."""

    sync: float
    rollout: float
    reward: float
    gsrm: float
    judge: float
    training: float

    @property
    def step(self) -> float:
        return self.sync + self.rollout + self.reward + self.training


def serve(requests: Sequence[tuple[int, int]], room: int, device: Device, split: int = 1) -> float:
    """Return the seconds in which a server answers requests that come all at once.

    Args:
        requests: tokens of the prompt and of the answer.
        room: tokens in the KV cache.
        device: one of its devices.
        split: devices that it is split over; each reads and computes its part.
    """
    waiting, seconds = list(requests), 0.0
    running: list[tuple[int, int]] = []  # tokens there, and to come
    weights = BF16 * MODEL.parameters
    while waiting or running:
        computed = len(running)
        while waiting and sum(map(sum, running)) + sum(waiting[0]) <= room:
            running.append(waiting.pop(0))
            computed += running[-1][0]
        if not running:
            raise ValueError(f"a request of {sum(waiting[0])} tokens does not fit into {room}")
        cached = sum(there for there, _ in running)
        seconds += (weights + MODEL.kv_bytes * cached) / (device.read * split)
        seconds += 2 * MODEL.parameters * computed / (device.compute * split)
        running = [(there + 1, more - 1) for there, more in running if more > 1]
    return seconds


def room(share: float, split: int = 1) -> int:
    """Return the tokens in the KV cache of a server with this share of each of its devices."""
    left = split * (share * DEVICE_GB - SERVER_BESIDE) * GIGA - BF16 * MODEL.parameters
    return int(left // MODEL.kv_bytes)


def phases(
    placement: Placement, completions: int, load: Load = LOAD, device: Device = DEVICE
) -> Phases:
    """Return how long the phases of a step last.

    Args:
        placement: of the servers; four devices train.
        completions: of a step.
        load: what the servers are asked.
        device: of which all are.
    """
    config = yaml.safe_load((CONFIGS / "rlkd_npu.yaml").read_text("utf-8"))
    spread = config["max_completion_length"] - load.shortest
    lengths = [load.shortest + spread * n // (completions - 1) for n in range(completions)]
    halves = [lengths[n :: placement.replicas] for n in range(placement.replicas)]
    rollout = max(
        serve(
            [(load.problem, answer) for answer in half],
            room(placement.rollout, placement.split),
            device,
            placement.split,
        )
        for half in halves
    )
    teachers = [load.teacher] * (completions // config["num_generations"])
    asked = [(load.instruction + load.problem + n, load.structure) for n in teachers + lengths]
    gsrm = serve(asked, room(placement.gsrm), device)
    judge = 2 * MODEL.parameters * completions * load.verdicts * load.verdict / device.compute
    trained = sum(lengths) + completions * load.problem
    passes = 2 + 2 + (2 + 2 + 4)  # reference, old policy; forward, again, backward
    return Phases(
        sync=BF16 * MODEL.parameters / device.link,
        rollout=rollout,
        reward=gsrm + judge if placement.together else max(gsrm, judge),
        gsrm=gsrm,
        judge=judge,
        training=passes * MODEL.parameters * trained / (device.compute * DEVICES),
    )


def table(completions: int) -> str:
    """Return the placements as a Markdown table, in seconds and shares of a step."""
    lines = [
        "| devices | weights | rollout | reward | training | a step | rollout idle | GSRM idle "
        "| judge idle | trainers idle |",
        "| --- |" + " ---: |" * 9,
    ]
    for placement in PLACEMENTS:
        p = phases(placement, completions)
        seconds = (p.sync, p.rollout, p.reward, p.training, p.step)
        works = (p.sync + p.rollout, p.gsrm, p.judge, p.sync + p.training)
        cells = [f"{each:.0f} s" for each in seconds]
        cells += [f"{1 - each / p.step:.0%}" for each in works]
        lines.append(f"| {placement.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    for number in (32, 128):
        print(f"{number} completions a step\n\n{table(number)}\n")
    faster = replace(DEVICE, read=2.2e12, compute=4.0e14)
    seconds = [phases(each, 32, device=faster).step for each in PLACEMENTS]
    print("32 on a device that reads 2.2 TB/s and computes 400 TFLOP/s:")
    print(", ".join(f"{each:.0f} s" for each in seconds))
