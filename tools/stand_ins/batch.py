"""Scores a batch as the reward does, in an event loop of its own."""

import asyncio
from collections.abc import Sequence

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.scoring import Sample, Score, score_batch


def score(
    engine: Engine, samples: Sequence[Sample], cache: TeacherCache | None = None
) -> list[Score]:
    """Open the engine, and return the samples' scores in their order."""

    async def work() -> list[Score]:
        async with engine:
            return await score_batch(samples, engine, cache)

    return asyncio.run(work())
