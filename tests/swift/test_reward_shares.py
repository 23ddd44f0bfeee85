"""Shares of the rewards from the advantages that ms-swift's own function computes."""

from math import nan

import pytest
import torch
from swift.rl_core.advantage import compute_advantages

from rlkd_plugin.rlkd_eval.reward_shares import Group, pool, spread_of

SIZE = 4
WEIGHTS = [15.0, 10.0, 2.0]


def batch() -> list[list[float]]:
    """Rewards of 8 groups, one of them without a teacher, and one whose completions are alike."""
    draw = torch.Generator().manual_seed(0)
    rewards = torch.rand((8 * SIZE, 3), generator=draw)
    rewards[:, 1] = (rewards[:, 1] > 0.5).float()
    rewards[:, 2] *= 50
    rewards[:SIZE, 2] = nan
    rewards[SIZE : 2 * SIZE] = 0.3
    return rewards.tolist()


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "reinforce_plus_plus"])
@pytest.mark.parametrize("scale", ["group", "batch", "none", "gdpo"])
def test_advantages_are_those_of_the_weighted_rewards(scale: str, estimator: str) -> None:
    # "none", where ms-swift knows no gdpo
    is_gdpo = scale == "gdpo" and estimator != "reinforce_plus_plus"
    rewards = batch()
    advantages, _ = compute_advantages(
        torch.tensor(rewards), torch.tensor(WEIGHTS), SIZE, estimator, scale
    )
    spreads = []
    for start in range(0, len(rewards), SIZE):
        part = slice(start, start + SIZE)
        columns = zip(*rewards[part], strict=True)
        named = {
            str(place): [None if x != x else x for x in column]
            for place, column in enumerate(columns)
        }
        group = Group(named, advantages[part].tolist())
        spreads.append(spread_of(group, WEIGHTS, is_gdpo))
    assert [place for place, spread in enumerate(spreads) if spread is None] == [1]
    pooled = pool([spread for spread in spreads if spread])
    assert pooled is not None
    assert sum(pooled.shares.values()) == pytest.approx(1)
    # weighted, the last reward has the widest range by far; gdpo makes ranges equal, and leaves
    # the weights
    leads = max(pooled.shares, key=lambda name: pooled.shares[name])
    assert leads == ("0" if is_gdpo else "2")
