"""`rm_plugins["rlkd_gsrm"]`: the structure reward with the GSRM as `--reward_model`.

For users with one machine and no device to spare for a server: the weights are in the training
process, on every rank, and decompose and judge between two steps.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import torch
from swift.utils import get_logger

from rlkd_plugin.llm_io.settings import load_settings, unknown_variables
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine
from rlkd_plugin.swift_hooks.rewards.metrics import run_folder
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer

logger = get_logger()


class RlkdGsrmModel:
    """The structure reward of Algorithm 1, by a model in this process.

    Args:
        model: the GSRM, loaded by ms-swift.
        template: ms-swift's, of this model.

    Raises:
        RlkdError: if a setting is wrong.
    """

    def __init__(self, model: torch.nn.Module, template: Any) -> None:
        settings = load_settings()
        for name in unknown_variables():
            logger.warning(f"rlkd: the variable {name} is set, but no setting has this name")
        engine = LocalEngine(settings, model, template)
        cache = DiskCache(settings.cache_dir, engine.identity)
        self.scorer = Scorer(settings, engine, cache, None)

    def __call__(self, inputs: Sequence[dict[str, Any]], **columns: Any) -> list[float | None]:
        """Score a batch of completions.

        Args:
            inputs: a row for each of N completions, which is its last message.
            **columns: the same rows' columns, those of `Scorer.rewards`.

        Returns:
            N rewards, as `Scorer.rewards`.

        Raises:
            RlkdError: if a column is missing or of another length, or a value is not allowed.
            EndpointError: if the model does not take too many of the texts.
        """
        self.scorer.output_dir = self.scorer.output_dir or run_folder()
        completions = [row["messages"][-1]["content"] for row in inputs]
        return asyncio.run(self.scorer.rewards(completions, **columns))
