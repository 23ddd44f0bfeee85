"""`rm_plugins["rlkd_gsrm"]`: the structure reward with the GSRM as `--reward_model`.

For users with one machine and no spare device for a server: every rank holds the weights in the
training process, where they decompose and judge between two steps.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from swift.template import Template
from swift.utils import get_logger
from transformers import PreTrainedModel

from rlkd_plugin.llm_io.settings import load_settings, unknown_variable_warnings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine
from rlkd_plugin.swift_hooks.rewards.metrics import run_folder
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer

logger = get_logger()


class RlkdGsrmModel:
    """The structure reward of Algorithm 1, by a model in this process.

    Args:
        model: the GSRM, loaded by ms-swift.
        template: the model's, of ms-swift.

    Raises:
        RlkdError: if a setting is wrong, or the trace cannot be written.
    """

    def __init__(self, model: PreTrainedModel, template: Template) -> None:
        settings = load_settings()
        for warning in unknown_variable_warnings():
            logger.warning(f"rlkd: {warning}")
        engine = LocalEngine(settings, model, template)
        cache = DiskCache(settings.cache_dir, engine.identity)
        self.scorer = Scorer(settings, engine, cache)

    def __call__(self, inputs: Sequence[dict[str, Any]], **columns: Any) -> list[float | None]:
        """Score a batch of completions.

        Args:
            inputs: a row for each of N completions, which is its last message.
            **columns: the same rows' columns, those of `Scorer.rewards`.

        Returns:
            N rewards, as `Scorer.rewards`.

        Raises:
            RlkdError: if a column is missing or of another length, or a value is not allowed.
            EndpointError: if, over a window of the run, the model rejects too many of the texts,
                or decomposes nearly none.
        """
        self.scorer.output_dir = self.scorer.output_dir or run_folder()
        completions = [row["messages"][-1]["content"] for row in inputs]
        return asyncio.run(self.scorer.rewards(completions, **columns))
