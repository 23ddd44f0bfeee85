"""A plugin file for `swift sft` in the tests: the callback `structured_probe`.

It saves the parameters before each optimizer step and the gradients after it was computed, and can
kill the process, as a machine that goes down does.
"""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from swift.callbacks import TrainerCallback, callbacks_map
from swift.utils import is_master


class Probe(TrainerCallback):
    """PROBE_FOLDER: where tensors are saved; PROBE_KILL: the step before which to be killed."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the parameters, or end without a word."""
        if os.environ.get("PROBE_KILL") == str(state.global_step + 1):
            os.kill(os.getpid(), signal.SIGKILL)
        self.save("before", state, lambda parameter: parameter.detach())

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the gradients."""
        self.save("gradient", state, lambda parameter: parameter.grad)

    def save(self, name: str, state: Any, value: Any) -> None:
        """Write a tensor for each parameter."""
        if (folder := os.environ.get("PROBE_FOLDER")) and is_master():
            tensors = {k: value(p).clone() for k, p in self.trainer.model.named_parameters()}
            torch.save(tensors, Path(folder) / f"{name}_{state.global_step + 1}.pt")


callbacks_map["structured_probe"] = Probe
