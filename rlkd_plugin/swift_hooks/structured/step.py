"""The optimizer step in progress, which the callback and the loss share on ms-swift's trainer."""

from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Protocol

import torch

from rlkd_plugin.swift_hooks.swift_trainer import SwiftTrainer


@dataclass
class StepLosses:
    """Weights, token counts and losses of an optimizer step.

    Attributes:
        weights: of the loss on meta-reasoning and on solving, in this phase.
        tokens: of meta-reasoning and of solving in the whole step, over all micro-batches and
            ranks; 0 for a set that the phase does not learn.
        losses: this rank's part of the mean loss of each set, over the micro-batches so far.
    """

    weights: tuple[float, float] = (1.0, 1.0)
    tokens: tuple[int, int] = (0, 0)
    losses: list[torch.Tensor] = field(default_factory=list)


class Ranks(Protocol):
    """The part of accelerate's `Accelerator` that is used."""

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the ranks' tensors, joined along the first dimension."""
        ...


class StructuredTrainer(SwiftTrainer, Protocol):
    """The trainer of structured training; our loss sets `rlkd_step`, the rest is the trainer's."""

    accelerator: Ranks
    train_dataset: Sized
    eval_dataset: Sized | None
    rlkd_step: StepLosses
