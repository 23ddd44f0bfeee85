"""The callback `rlkd_metrics`: brings the reward's numbers into ms-swift's own logs.

ms-swift builds rewards without a handle on the trainer. The callback, built first, leaves one
here; the reward hands its numbers over, and `trainer.custom_metrics` averages them over ranks.
"""

import weakref
from collections.abc import Mapping, Sequence

from swift.callbacks import TrainerCallback
from swift.trainers import Trainer, TrainingArguments

from rlkd_plugin.swift_hooks.swift_trainer import SwiftTrainer

_trainer: "weakref.ref[SwiftTrainer] | None" = None


class RlkdMetrics(TrainerCallback):
    """Logs `rlkd/...` beside ms-swift's own metrics, once a logging step."""

    trainer: SwiftTrainer

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        global _trainer
        _trainer = weakref.ref(self.trainer)


def run_folder() -> str | None:
    """Return the output folder of the current trainer's run, or None without a trainer."""
    trainer = _trainer() if _trainer else None
    return trainer.args.output_dir if trainer else None


def publish(metrics: Mapping[str, Sequence[float]]) -> bool:
    """Add values to the current log step; return False if there is no trainer.

    Args:
        metrics: a list of values a key; the mean over the values of all ranks is logged. All ranks
            publish the same keys.
    """
    trainer = _trainer() if _trainer else None
    if trainer is None:
        return False
    mode = "train" if trainer.model.training else "eval"
    for key, values in metrics.items():
        trainer.custom_metrics[mode][key].update(list(values))
    return True
