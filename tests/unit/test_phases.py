"""The phases and the weights of equation 1, worked out by hand."""

import json

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.phases import PHASES, PhaseWeights, Total, check_phases


def started(interval: int = 100) -> PhaseWeights:
    """Weights after one phase each: L1 of 3 and 1, L2 of 1 and 0.5 and 0.6."""
    weights = PhaseWeights(interval=interval)
    for loss in (3.0, 1.0):
        weights.record("meta", loss, None)
    for loss in (1.0, 0.5, 0.6):
        weights.record("solve", None, loss)
    weights.begin("mixed")
    return weights


def test_the_first_two_phases_have_one_loss_each() -> None:
    weights = PhaseWeights()
    assert weights.of("meta") == (1.0, 0.0)
    assert weights.of("solve") == (0.0, 1.0)


def test_a_and_b_start_at_the_means_of_l1_and_l2() -> None:
    # (3 + 1) / 2 = 2 and (1 + 0.5 + 0.6) / 3 = 0.7
    assert started().of("mixed") == (2.0, pytest.approx(0.7))


def test_a_step_without_a_token_of_the_set_does_not_count() -> None:
    weights = PhaseWeights()
    for loss in (None, 3.0, None, 1.0):
        weights.record("meta", loss, None)
    weights.record("solve", None, 1.0)
    weights.begin("mixed")
    assert weights.of("mixed") == (2.0, 1.0)


def test_the_weights_follow_the_ratio_of_the_losses_after_an_interval() -> None:
    weights = started(interval=2)
    weights.record("mixed", 0.5, 0.2)
    assert weights.of("mixed") == (2.0, pytest.approx(0.7))
    weights.record("mixed", 0.4, 0.1)
    # rho = 0.9 / 0.3 = 3; a + b = 2.7; a = 2.7 * 3/4 = 2.025, b = 2.7 / 4 = 0.675
    assert weights.of("mixed") == (pytest.approx(2.025), pytest.approx(0.675))


def test_each_update_looks_at_the_steps_since_the_last() -> None:
    weights = started(interval=1)
    weights.record("mixed", 3.0, 1.0)
    weights.record("mixed", 1.0, 1.0)
    # the second window alone: rho = 1, so both get half of 2.7
    assert weights.of("mixed") == (pytest.approx(1.35), pytest.approx(1.35))


@pytest.mark.parametrize("meta, solve", [(None, 1.0), (1.0, None), (None, None), (0.0, 0.0)])
def test_a_window_without_one_of_the_sets_changes_nothing(
    meta: float | None, solve: float | None
) -> None:
    weights = started(interval=1)
    before = weights.of("mixed")
    weights.record("mixed", meta, solve)
    assert weights.of("mixed") == before
    assert weights.steps_now == 0


def test_a_loss_of_zero_divides_nothing_by_it() -> None:
    weights = started(interval=1)
    weights.record("mixed", 1.0, 0.0)
    assert weights.of("mixed") == (pytest.approx(2.7), 0.0)


def test_given_weights_are_the_start() -> None:
    weights = PhaseWeights(1.5, 0.5)
    weights.begin("mixed")
    assert weights.of("mixed") == (1.5, 0.5)


def test_a_mixed_phase_without_losses_to_start_from_is_refused() -> None:
    weights = PhaseWeights()
    weights.record("meta", 1.0, None)
    weights.check("meta")
    with pytest.raises(RlkdError, match="no step of the phase solve had a token of its set"):
        weights.begin("mixed")


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_step_whose_loss_is_no_number_does_not_count(broken: float) -> None:
    """ms-swift drops its gradients and trains on; a and b have to survive it as well."""
    weights = PhaseWeights(interval=2)
    for loss in (3.0, broken, 1.0):
        weights.record("meta", loss, None)
        weights.record("solve", None, loss)
    weights.begin("mixed")
    assert weights.of("mixed") == (2.0, 2.0)
    weights.record("mixed", broken, 1.0)
    weights.record("mixed", 3.0, broken)
    # 3 against 1: a = 4 * 3/4
    assert weights.of("mixed") == (3.0, 1.0)


def test_the_state_survives_json() -> None:
    weights = started(interval=3)
    weights.record("mixed", 0.1, 0.7)
    again = PhaseWeights.from_dict(json.loads(json.dumps(weights.to_dict())))
    assert again == weights
    assert again.meta_now == Total(0.1, 1)
    for both in (weights, again):
        both.record("mixed", 0.2, 0.3)
        both.record("mixed", 0.3, 0.1)
    assert again.of("mixed") == weights.of("mixed") != (2.0, 0.7)


@pytest.mark.parametrize(
    ("phases", "given", "message"),
    [
        (("meta", "solv"), False, "unknown phase solv; use meta, solve, mixed"),
        ((), False, "no phase is given"),
        (("mixed",), False, "train meta and solve before it"),
        (("meta", "mixed", "solve"), False, "train solve before it"),
    ],
)
def test_phases_that_cannot_be_trained_are_refused(
    phases: tuple[str, ...], given: bool, message: str
) -> None:
    with pytest.raises(RlkdError, match=message):
        check_phases(phases, given)


@pytest.mark.parametrize("phases", [PHASES, ("meta", "meta", "solve", "mixed"), ("solve",)])
def test_other_sequences_can_be_trained(phases: tuple[str, ...]) -> None:
    check_phases(phases, weights_given=False)


def test_mixed_alone_can_be_trained_with_given_weights() -> None:
    check_phases(("mixed",), weights_given=True)
