"""The structure reward of the miniature's control. Load it beside the plugin:

--external_plugins rlkd_plugin/register.py examples/miniature/rewards.py
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from swift.rewards import orms

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


orms["rlkd_gsrm_shuffled"] = RlkdGsrmShuffled
