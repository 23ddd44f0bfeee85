"""The callback `rlkd_metrics`: brings the reward's numbers into ms-swift's own logs.

ms-swift builds rewards without a handle on the trainer. The callback, built first, leaves one
here; the reward hands its numbers over, and `trainer.custom_metrics` averages them over ranks.
"""

import weakref
from collections.abc import Mapping, Sequence

from swift.callbacks import TrainerCallback
from swift.trainers import Trainer, TrainingArguments

_trainer: "weakref.ref[Trainer] | None" = None


class RlkdMetrics(TrainerCallback):
    """Logs `rlkd/...` beside ms-swift's own metrics, once a logging step."""

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        global _trainer
        _trainer = weakref.ref(trainer)


def run_folder() -> str | None:
    """Return the output folder of the run whose trainer listens, if one does."""
    trainer = _trainer() if _trainer else None
    return trainer.args.output_dir if trainer else None


def publish(metrics: Mapping[str, Sequence[float]]) -> bool:
    """Add values to the current log step; return False where no trainer listens.

    Args:
        metrics: values a key, whose mean over this and all other ranks is logged. All ranks
            publish the same keys.
    """
    trainer = _trainer() if _trainer else None
    if trainer is None:
        return False
    mode = "train" if trainer.model.training else "eval"
    for key, values in metrics.items():
        trainer.custom_metrics[mode][key].update(list(values))
    return True
