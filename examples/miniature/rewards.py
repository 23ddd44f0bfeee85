"""The structure rewards of the miniature's controls. Load them beside the plugin:

--external_plugins rlkd_plugin/register.py examples/miniature/rewards.py
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from swift.rewards import orms

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.swift_hooks.rewards.grpo_reward import RlkdGsrm


class RlkdGsrmShuffled(RlkdGsrm):
    """`rlkd_gsrm` with the rewards of each prompt's group in a random order.

    Mean and spread of a group stay the same; chance decides which completion gets which reward.
    """

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        self.random = random.Random(0)

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        rewards = await super().__call__(completions, **columns)
        groups = defaultdict(list)
        for index, prompt in enumerate(columns["prompt_id"]):
            groups[prompt].append(index)
        shuffled = list(rewards)
        for indices in groups.values():
            order = self.random.sample(indices, len(indices))
            for index, source in zip(indices, order, strict=True):
                shuffled[index] = rewards[source]
        return shuffled


class RlkdGsrmPriced(RlkdGsrm):
    """`rlkd_gsrm` divided by max(n, m) instead of the teacher's n, for a student with m steps.

    Algorithm 1 compares min(n, m) steps, so steps beyond the teacher's cost nothing there. Here
    each of them makes the reward smaller. Needs the reward scale `teacher` and the rules engine.
    """

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        super().__init__(args, **kwargs)
        self.rules = RulesEngine()

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        rewards = await super().__call__(completions, **columns)
        priced: list[float | None] = []
        for reward, student, teacher in zip(
            rewards, completions, columns["teacher_reasoning"], strict=True
        ):
            n, m = await self._steps(teacher), await self._steps(student)
            priced.append(None if reward is None else reward * n / max(n, m))
        return priced

    async def _steps(self, path: str) -> int:
        structure = (await self.rules.decompose("", "math", path)).structure
        return len(structure.steps) if structure else 0


orms["rlkd_gsrm_shuffled"] = RlkdGsrmShuffled
orms["rlkd_gsrm_priced"] = RlkdGsrmPriced
