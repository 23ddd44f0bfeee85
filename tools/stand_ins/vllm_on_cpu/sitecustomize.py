"""Lets `swift rollout`, colocated vLLM and their trainers run as typed where there is no device.

Put this folder first into `PYTHONPATH`: Python imports `sitecustomize` in each process, so in
workers, in vLLM's engine and in all ranks too. Only what a CPU lacks is replaced: the count of
devices, the collective (gloo in NCCL's place), calls of `torch.cuda`, and vLLM's packing of linear
weights, after which none can be loaded. ms-swift's protocol, buckets, gathering and loading are
the real ones.

Variables:
    ON_CPU_WEIGHTS_LOG: a file; each sync leaves a line a side, with checksums.
    ON_CPU_BROKEN: set to anything, weights arrive at the rollout server and cannot be loaded.
    ON_CPU_DEVICES: how many devices ms-swift counts; 1 if not set.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from datetime import timedelta
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any


class Changed(MetaPathFinder):
    """Changes a module right after it was imported."""

    def __init__(self, changes: dict[str, Callable[[Any], None]]) -> None:
        self.changes = changes

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find a module that is changed, with a loader that does it."""
        change = self.changes.get(name)
        spec = PathFinder.find_spec(name, path, target) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def note(**line: Any) -> None:
    """Append a line to the log of the weights."""
    if log := os.environ.get("ON_CPU_WEIGHTS_LOG"):
        with open(log, "a") as file:
            file.write(json.dumps({**line, "process": os.getpid()}) + "\n")


def checksum(tensors: Iterable[Any]) -> int:
    """Return a number that depends on all bits of all values, and not on their order.

    vLLM keeps query, key and value in one tensor, and gate and up projection: the same values in
    another order. What it pads with zeros adds nothing.
    """
    import torch

    total = 0
    for tensor in tensors:
        bits = tensor.detach().contiguous().view(-1).view(torch.uint8).to(torch.int64)
        width = tensor.element_size()
        values = torch.zeros_like(bits[::width])
        for place in range(width):
            values += bits[place::width] << (8 * place)
        total += int((values * values % 1_000_003).sum()) + int(values.sum())
    return total


class GlooCommunicator:
    """The part of vLLM's PyNcclCommunicator that ms-swift uses, over gloo."""

    def __init__(self, group: Any, device: Any) -> None:
        import torch
        import torch.distributed as dist

        self.group, self.rank, self.world_size = group, group.rank, group.world_size
        self.device = torch.device("cpu")
        self.available, self.disabled = True, False
        store = dist.PrefixStore("weights", group.store)  # pyright: ignore[reportPrivateImportUsage]
        patience = timedelta(seconds=300)
        self.gloo = dist.ProcessGroupGloo(store, self.rank, self.world_size, patience)

    def broadcast(self, tensor: Any, src: int, stream: Any = None) -> None:
        """Send a tensor from one rank to all, and note its checksum on each side."""
        import torch.distributed as dist

        options = dist.BroadcastOptions()
        options.rootRank = src
        self.gloo.broadcast([tensor], options).wait()  # pyright: ignore[reportAttributeAccessIssue]
        side = "sent" if self.rank == src else "received"
        note(side=side, bytes=tensor.nbytes, sum=checksum([tensor]))


def change_deploy_args(module: Any) -> None:
    """Count the CPU as a device."""
    module.get_device_count = lambda: int(os.environ.get("ON_CPU_DEVICES", "1"))


def change_collective(module: Any) -> None:
    """Replace NCCL by gloo."""
    module.PyNcclCommunicator = GlooCommunicator
    module.synchronize = lambda *_: None


def change_utils(module: Any) -> None:
    """Log checksums of a vLLM model after its weights are loaded."""
    finish = module.finish_vllm_weight_reload

    def finish_and_note(vllm_model: Any, *words: Any, **options: Any) -> None:
        finish(vllm_model, *words, **options)
        note(side="loaded", sum=checksum(vllm_model.parameters()))

    module.finish_vllm_weight_reload = finish_and_note


def change_trainer(module: Any) -> None:
    """Log checksums of a trainer's weights when it sends them."""
    trainer = module.RolloutTrainerMixin
    load, move = trainer._load_state_dict_to_vllm, trainer._move_full_model_to_vllm

    def load_and_count(self: Any, state_dict: Any) -> None:
        if self.accelerator.is_main_process:
            self.on_cpu_sum += checksum(state_dict.values())
        load(self, state_dict)

    def move_and_note(self: Any) -> None:
        self.on_cpu_sum = 0
        move(self)
        if self.accelerator.is_main_process:
            note(side="trained", sum=self.on_cpu_sum)

    trainer._load_state_dict_to_vllm = load_and_count
    trainer._move_full_model_to_vllm = move_and_note


def change_layers(module: Any) -> None:
    """Leave linear weights as they are; packed, a weight has no loader any more."""
    if not os.environ.get("ON_CPU_BROKEN"):
        module.dispatch_cpu_unquantized_gemm = keep_linear


def keep_linear(layer: Any, remove_weight: bool) -> None:
    """Compute a linear layer by torch."""
    import torch

    layer.cpu_linear = torch.nn.functional.linear


def change_torch(module: Any) -> None:
    """Give the CPU the context manager that ms-swift opens for its device."""

    @contextmanager
    def device(_: Any) -> Any:
        yield

    module.device = device


def change_transport(module: Any) -> None:
    """Turn off DeepSpeed's collectives in shared memory, which it would compile."""
    module.build_shm_op = lambda: None


def change_deepspeed(module: Any) -> None:
    """Let ranks on CPUs talk by gloo."""
    if "RANK" in os.environ:
        module.init_distributed(dist_backend="gloo")


sys.meta_path.insert(
    0,
    Changed(
        {
            "deepspeed": change_deepspeed,
            "deepspeed.comm.torch": change_transport,
            "swift.arguments.deploy_args": change_deploy_args,
            "swift.pipelines.infer.rollout": change_collective,
            "swift.rlhf_trainers.rollout_mixin": change_trainer,
            "swift.rlhf_trainers.utils": change_utils,
            "swift.rlhf_trainers.vllm_client": change_collective,
            "torch.cpu": change_torch,
            "vllm.model_executor.layers.utils": change_layers,
        }
    ),
)
