"""The off-policy measure: what ends a run, and what does not."""

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.swift_hooks.rewards.stale_policy import (
    BOUND,
    HIGHEST,
    MEASURE,
    STUDENT,
    StalePolicy,
    noise_of,
)


def steps_done(values: list[float], float32: bool = False, first: int = 1) -> int | None:
    """Return at which step a run with these values ends, None if it goes on."""
    policy = StalePolicy(float32)
    history: list[dict[str, float]] = []
    for step, value in enumerate(values, start=first):
        logs = {MEASURE: value, STUDENT: 1.5}
        history.append({**logs, "step": step})
        try:
            policy.look(logs, noise_of(history))
        except RlkdError:
            return step
    return None


def test_float32_ends_at_the_first_step_of_another_policy() -> None:
    """Measured: two layers on a CPU, learning rate 3e-2, no weight ever loaded."""
    assert steps_done([0.0, 1.72e-6, 7.6e-6], float32=True) == 2


def test_float32_whose_sides_compute_alike_goes_on() -> None:
    """The rounding of the measure itself, at most."""
    assert steps_done([0.0, 6e-8, 1e-7, 0.0] * 50, float32=True) is None


def test_noise_of_bfloat16_ends_no_run() -> None:
    """Measured: SmolLM2-135M on a CPU, three steps; then a drift to four times of it."""
    healthy = [2.37e-3, 1.81e-3, 2.91e-3]
    assert steps_done([*healthy, *[9.5e-3] * 100]) is None
    # the tiny model: a value of its noise's first step that is 100 times too low
    assert steps_done([1.6e-6, 1.6e-4, 5e-5, 1.7e-6]) is None


def test_one_lifted_step_ends_no_run_with_noise() -> None:
    assert steps_done([2e-4, 3e-2, 2e-4, 3e-2, 2e-4]) is None


def test_a_policy_that_is_left_behind_ends_a_run_with_noise() -> None:
    # noise 2e-4, and each step behind adds: 2e-4 + k^2 * 1e-4 > 1e-2 from k = 10 on, step 11
    assert steps_done([2e-4 + (step * 1e-2) ** 2 for step in range(50)]) == 12
    # noise 2e-3: the bound is 16 times it, 3.2e-2; 2e-3 + k^2 * 1e-4 from k = 18 on, step 19
    assert steps_done([2e-3 + (step * 1e-2) ** 2 for step in range(50)]) == 20


def test_another_model_from_the_first_step_on_is_no_noise() -> None:
    """A server that was left over from another run."""
    assert steps_done([0.3, 0.3]) == 2
    assert HIGHEST == 0.1


def test_a_resumed_run_has_the_noise_of_its_first_step() -> None:
    """Without that step in the history, the bound is the least one."""
    assert steps_done([0.9 * BOUND] * 3, float32=True, first=100) is None
    assert steps_done([1.1 * BOUND] * 3, float32=True, first=100) == 101
    policy = StalePolicy(float32=True)
    noise = noise_of([{MEASURE: 0.0, STUDENT: 2.0, "step": 1}, {MEASURE: 0.5, "step": 2}])
    assert noise == 0.0
    with pytest.raises(RlkdError, match=r"is 2\.0e-06, above its bound of 1\.0e-06 \(its noise"):
        policy.look({MEASURE: 2e-6, STUDENT: 2.0}, noise)


def test_steps_without_tokens_or_without_the_measure_say_nothing() -> None:
    """`overlong_filter` masks all; an evaluation's keys have a prefix; a run may log none."""
    assert noise_of([{MEASURE: 0.0, STUDENT: 0.0, "step": 1}]) is None
    assert noise_of([{"loss": 0.0, "step": 1}]) is None
    policy = StalePolicy(float32=True)
    for logs in ({"loss": 1.0}, {f"eval_{MEASURE}": 1.0}, {MEASURE: 1.0, STUDENT: 0.0}):
        policy.look(logs, 0.0)


def test_the_sentence_says_what_to_do() -> None:
    with pytest.raises(RlkdError) as found:
        StalePolicy(float32=True).look({MEASURE: 1.8e-6, STUDENT: 2.0}, 0.0)
    for part in ("1.8e-06", "1.0e-06", "`Method execution failed`", "resume from a checkpoint"):
        assert part in str(found.value)
