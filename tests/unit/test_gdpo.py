"""`scale_rewards: gdpo`, by ms-swift's own functions: what docs/recipes.md says of it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

WEIGHTS = (15.0, 15.0)


def advantages(
    columns: Sequence[Sequence[float | None]], scale: str, group: int = 4
) -> list[float]:
    """Return each completion's advantage for rewards given reward by reward.

    Both of ms-swift's functions are the trainer's: the rewards are called with samples, and None
    becomes NaN on the way.
    """
    from swift.rl_core.advantage import compute_advantages
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import score_completions

    def reward(values: Sequence[float | None]) -> Any:
        return lambda completions, **columns: list(values)

    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    samples = [GRPOSample(turns) for _ in columns[0]]
    rewards = score_completions(
        samples, [*map(reward, columns)], [None] * len(columns), False, torch.device("cpu")
    )
    weights = torch.tensor(WEIGHTS[: len(columns)])
    found, _ = compute_advantages(rewards, weights, group, scale_rewards=scale)
    return found.tolist()


def test_a_teacher_without_structure_is_neutral() -> None:
    """The structure reward is None for a whole group: accuracy alone decides there, and the other
    group is as it is without."""
    accuracy = [1.0, 0, 1, 0, 1, 1, 1, 1]
    none = [None] * 4
    found = advantages([accuracy, [*none, 4.0, 0, 4, 0]], "gdpo")
    # each group has one reward that differs: 0.5 / std 0.57735 = 0.866, times 15 = 12.990;
    # over the batch: mean 0, std sqrt(8 * 12.990^2 / 7) = 13.887; 12.990 / 13.887 = 0.9354
    assert found == pytest.approx([0.9354, -0.9354] * 4, abs=1e-4)
    assert found == advantages([accuracy, [0.0] * 4 + [4.0, 0, 4, 0]], "gdpo")


def test_groups_without_any_teacher_leave_the_other_reward() -> None:
    """A whole batch of None."""
    accuracy = [1.0, 0, 1, 0, 1, 1, 1, 1]
    found = advantages([accuracy, [None] * 8], "gdpo")
    assert found == pytest.approx(advantages([accuracy], "gdpo"), abs=1e-6)
    assert found[4:] == [0.0] * 4


def test_the_range_of_a_reward_does_not_count() -> None:
    """One completion is right, another one follows the teacher. By default the reward with ten
    times the range outweighs the other; by gdpo both are worth their weights, whatever the range.
    """
    accuracy, structure = [1.0, 0, 0, 0], [0.0, 1, 0, 0]
    tenfold = [10 * value for value in structure]
    right, follows, *_ = advantages([accuracy, structure], "group")
    assert right == follows > 0
    right, follows, *_ = advantages([accuracy, tenfold], "group")
    assert right < 0 < follows  # 15 is below the group's mean of (15 + 150) / 4
    right, follows, *_ = advantages([accuracy, tenfold], "gdpo")
    assert right == pytest.approx(follows) and right > 0
    assert advantages([accuracy, tenfold], "gdpo") == advantages([accuracy, structure], "gdpo")


def test_a_small_difference_counts_as_a_large_one() -> None:
    small, large = [2.0, 2, 2, 2.25], [0.0, 0, 0, 10]
    assert advantages([small], "gdpo") == pytest.approx(advantages([large], "gdpo"), abs=1e-5)


def test_the_scale_of_the_structure_reward_does_not_count() -> None:
    """`RLKD_REWARD_SCALE=teacher` divides a group by one number, as one teacher has it."""
    steps = [3.5, 1.0, 0.25, 7]
    teacher = [value / 7 for value in steps]
    found = advantages([steps], "gdpo"), advantages([teacher], "gdpo")
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_equal_rewards_are_neutral_where_they_are_exact() -> None:
    """Those of `steps` are multiples of a quarter, which floats hold. Of others a group's mean is
    rounded, and ms-swift divides the rounding by itself: so `steps` stays with gdpo."""
    others = [0.0, 1] * 4
    for quarters in range(1, 60):
        equal = [quarters / 4] * 8
        assert advantages([equal + others], "gdpo", group=8)[:8] == [0.0] * 8
    tenths = advantages([[0.9] * 8 + others], "gdpo", group=8)[:8]
    assert min(map(abs, tenths)) > 0.1
    by_default = advantages([[0.9] * 8 + others], "group", group=8)[:8]
    assert by_default == pytest.approx([0.0] * 8, abs=1e-3)
