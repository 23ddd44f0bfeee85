"""The loss `rlkd_structured` (section 3.1): each set's mean over the optimizer step, weighted.

`structured_loss` is a pure function of tensors; `StructuredLoss` is its adapter to ms-swift.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from swift.loss import BaseLoss
from swift.trainers import Trainer, TrainingArguments

from rlkd_plugin.swift_hooks.structured.tokens import META, SOLVE

CODES = (META, SOLVE)
"""The order of the two sets wherever numbers stand for both."""


@dataclass
class StepLosses:
    """What the parts of the hook share about the optimizer step that is being made.

    Attributes:
        weights: of the loss on meta-reasoning and on solving, in this phase.
        tokens: of meta-reasoning and of solving in the whole step, over all micro-batches and
            ranks; 0 for a set that the phase leaves out.
        losses: this rank's part of the mean loss of each set, over the micro-batches so far.
    """

    weights: tuple[float, float] = (1.0, 1.0)
    tokens: tuple[int, int] = (0, 0)
    losses: list[torch.Tensor] = field(default_factory=list)


def structured_loss(
    coded_losses: torch.Tensor,
    codes: torch.Tensor,
    tokens: tuple[int, int],
    weights: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a micro-batch's part of the step's loss, and of the mean loss of each set.

    Summed over the micro-batches and ranks of a step, the first is a L_M + b L_QA of equation 1
    and the second is (L_M, L_QA), whatever way the step is cut into micro-batches.

    Args:
        coded_losses: cross-entropy of each token times its code, shape (T,), as ms-swift gives it.
        codes: META, SOLVE or 0 for each token, shape (T,).
        tokens: of META and of SOLVE in the whole step; with 0 of a set its part is 0.
        weights: a and b.

    Returns:
        A scalar, and a tensor of shape (2,) without gradient.
    """
    parts = torch.stack(
        [
            torch.where(codes == code, coded_losses, 0).sum() / (code * max(count, 1))
            for code, count in zip(CODES, tokens, strict=True)
        ]
    )
    return (parts * parts.new_tensor(weights)).sum(), parts.detach()


class StructuredLoss(BaseLoss):
    """`--loss_type rlkd_structured`; the callback of that name says the phase and the counts."""

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        trainer.rlkd_step = StepLosses()

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        *,
        num_items_in_batch: torch.Tensor | int | None = None,
        loss_scale: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the loss to differentiate; in evaluation the mean over all tokens of a response.

        Args:
            outputs: its `loss` is the cross-entropy of each token times its code, shape (T,).
            labels: not used: the codes say which tokens count.
            num_items_in_batch: given by the trainer in training; the counts are our own.
            loss_scale: the codes, shifted like the losses, shape (T,).
        """
        if self.trainer.model.training:
            step = self.trainer.rlkd_step
            loss, parts = structured_loss(outputs.loss, loss_scale, step.tokens, step.weights)
            step.losses.append(parts)
            return loss
        metrics = self.trainer.custom_metrics["eval"]
        losses = torch.where(loss_scale > 0, outputs.loss / loss_scale.clamp(min=1), 0)
        for name, code in (("loss_meta", META), ("loss_solve", SOLVE)):
            metrics[name].update(losses[loss_scale == code])
        return losses.sum() / (loss_scale > 0).sum().clamp(min=1)
