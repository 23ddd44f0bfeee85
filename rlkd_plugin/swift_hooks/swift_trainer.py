"""The part of ms-swift's trainer that callbacks and loss use, typed as it is in training.

In ms-swift's own annotations the model may be None, and every metric is a mean.
"""

from typing import Protocol

from swift.metrics import Metric
from swift.trainers import TrainingArguments
from torch.nn import Module


class SwiftTrainer(Protocol):
    """An ms-swift trainer that has its model.

    Attributes:
        args: of the training.
        model: in training mode, except during an evaluation.
        custom_metrics: metrics by name for "train" and "eval"; a new name is a mean. They are
            logged and reset at each logging step.
    """

    args: TrainingArguments
    model: Module
    custom_metrics: dict[str, dict[str, Metric]]
