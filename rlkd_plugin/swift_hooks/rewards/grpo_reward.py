"""`orms["rlkd_gsrm"]`: the structure reward as ms-swift's GRPO calls it."""

from collections.abc import Sequence
from typing import Any

from swift.rewards import AsyncORM
from swift.utils import get_logger

from rlkd_plugin.llm_io.server_engine import probe_now
from rlkd_plugin.llm_io.settings import load_settings, unknown_variable_warnings
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer
from rlkd_plugin.swift_hooks.rewards.waiting_ranks import waiting_ranks_warnings

logger = get_logger()


class RlkdGsrm(AsyncORM):
    """The structure reward of Algorithm 1 for each completion.

    ms-swift's GRPO, its Ray mode and Megatron build it with arguments of different classes.

    Args:
        args: ms-swift's training arguments; of them `output_dir`, for the trace, and
            `ddp_timeout` are read.

    Raises:
        RlkdError: if a setting is wrong, or the trace cannot be written.
        EndpointError: if a server cannot be used; each is probed with one short request.
    """

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        settings = load_settings()
        for warning in unknown_variable_warnings():
            logger.warning(f"rlkd: {warning}")
        for warning in waiting_ranks_warnings(args, settings.longest_wait):
            logger.warning(warning)
        engine, cache = choose_engine(settings)
        probe_now(engine)
        self.scorer = Scorer(settings, engine, cache, getattr(args, "output_dir", None))
        logger.info(f"rlkd: engine {engine.name}; trace: {self.scorer.trace or 'none'}")

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        """Score a batch of completions; the columns are those of `Scorer.rewards`.

        Returns:
            N rewards, as `Scorer.rewards`.

        Raises:
            RlkdError: as `Scorer.rewards`.
            EndpointError: as `Scorer.rewards`.
        """
        return await self.scorer.rewards(completions, **columns)
