"""The loss `rlkd_structured` (section 3.1): each set's mean over the optimizer step, weighted.

`structured_loss` and `mask_to` are functions of tensors; `StructuredLoss` is the adapter to
ms-swift.
"""

from typing import Any

import torch
from swift.loss import BaseLoss
from swift.trainers import Trainer, TrainingArguments

from rlkd_plugin.swift_hooks.structured.step import StepLosses, StructuredTrainer
from rlkd_plugin.swift_hooks.structured.tokens import META, SOLVE

CODES = (META, SOLVE)
"""The order of the two sets wherever numbers stand for both."""


def structured_loss(
    coded_losses: torch.Tensor,
    codes: torch.Tensor,
    tokens: tuple[int, int],
    weights: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a micro-batch's part of the step's loss and of each set's mean loss.

    Summed over the micro-batches and ranks of a step, the first is a L_M + b L_QA of equation 1
    and the second is (L_M, L_QA), however the step is divided into micro-batches.

    Args:
        coded_losses: cross-entropy of each token times its code, shape (T,), as ms-swift gives it.
        codes: META, SOLVE or 0 for each token, shape (T,).
        tokens: of META and of SOLVE in the whole step; a set with 0 tokens has the part 0.
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


def mask_to(batch: dict[str, torch.Tensor], learned: tuple[float, ...]) -> torch.Tensor:
    """Mask the tokens outside some sets in a batch's labels and codes, in place.

    Args:
        batch: with `labels` and `loss_scale` (the codes), both of shape (B, L); -100 is no label.
        learned: the codes of the sets that stay.

    Returns:
        The number of tokens of META and of SOLVE that stay, shape (2,).
    """
    labels, codes = batch["labels"], batch["loss_scale"]
    stays = (labels != -100) & (sum(codes == code for code in learned) > 0)
    batch["labels"] = labels.masked_fill(~stays, -100)
    batch["loss_scale"] = codes.masked_fill(~stays, 0)
    predicted = batch["loss_scale"][:, 1:]  # nothing predicts the first token
    return torch.stack([(predicted == code).sum() for code in CODES])


class StructuredLoss(BaseLoss):
    """`--loss_type rlkd_structured`; the callback of that name sets the weights and the counts."""

    trainer: StructuredTrainer

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        self.trainer.rlkd_step = StepLosses()

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        *,
        num_items_in_batch: torch.Tensor | int | None = None,
        loss_scale: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the loss to differentiate; in evaluation the mean over all response tokens.

        Args:
            outputs: its `loss` is the cross-entropy of each token times its code, shape (T,).
            labels: not used: the codes say which tokens count.
            num_items_in_batch: not used: the counts are our own.
            loss_scale: the codes, shifted like the losses, shape (T,).
        """
        assert loss_scale is not None  # ms-swift passes it for a loss scale that is not binary
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
