"""What the callbacks and the loss use of ms-swift's trainer, typed as it is while it trains.

ms-swift's annotations say less: there the model may be None, and every metric is a mean.
"""

from typing import Protocol

from swift.metrics import Metric
from swift.trainers import TrainingArguments
from torch.nn import Module


class SwiftTrainer(Protocol):
    """A trainer of ms-swift's that has its model.

    Attributes:
        args: of the training.
        model: in training mode, but for an evaluation.
        custom_metrics: metrics by name for "train" and "eval"; a name that is new is a mean. They
            are logged, and set back, at each logging step.
    """

    args: TrainingArguments
    model: Module
    custom_metrics: dict[str, dict[str, Metric]]
