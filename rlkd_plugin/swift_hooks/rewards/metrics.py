"""The callback `rlkd_metrics`: puts the reward's metrics into ms-swift's logs, and checks these.

ms-swift builds rewards without a reference to the trainer. The callback, built first, stores one
here; the reward publishes its metrics, and `trainer.custom_metrics` averages them over ranks. The
callback also adds structures to the table of completions (`structure_columns`), and ends a run
whose log shows that the completions are not the current student's (`stale_policy`).
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from swift.callbacks import TrainerCallback
from swift.trainers import Trainer, TrainingArguments
from swift.utils import get_logger
from transformers import TrainerControl, TrainerState

from rlkd_plugin.swift_hooks.rewards.stale_policy import StalePolicy, noise_of
from rlkd_plugin.swift_hooks.rewards.structure_columns import add_structure_columns
from rlkd_plugin.swift_hooks.swift_trainer import SwiftTrainer

_trainer: "weakref.ref[SwiftTrainer] | None" = None

logger = get_logger()


class RlkdMetrics(TrainerCallback):
    """Logs `rlkd/...` beside ms-swift's own metrics, once a logging step."""

    trainer: SwiftTrainer

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        global _trainer
        _trainer = weakref.ref(self.trainer)
        self.stale_policy: StalePolicy | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add the table's columns, and start to watch the off-policy measure.

        It is not watched with `async_generate`, where the completions are an older student's.
        """
        add_structure_columns(self.trainer)
        if getattr(args, "async_generate", False):
            logger.info("rlkd: async_generate: completions of an older student are not detected")
            return
        dtype = next(self.trainer.model.parameters()).dtype
        self.stale_policy = StalePolicy(float32=dtype == torch.float32)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the off-policy measure.

        Raises:
            RlkdError: if the completions are not the student's.
        """
        if self.stale_policy and logs:
            self.stale_policy.look(logs, noise_of(state.log_history))


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
