"""What structured training refuses before it begins, each with a sentence that helps."""

from types import SimpleNamespace
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.structured.callback import RlkdStructured
from rlkd_plugin.swift_hooks.structured.checks import (
    check_arguments,
    check_lost_rows,
    check_rows,
    check_steps,
)
from tests.support.templates import template, tokenizer_with
from tools.stand_ins.hub_shapes import STRUCTURE

NAME = "rlkd_structured"


def arguments(**change: Any) -> SimpleNamespace:
    """The arguments of a run that is in order."""
    given = {
        "loss_type": NAME,
        "loss_scale": NAME,
        "callbacks": [NAME],
        "streaming": False,
        "num_train_epochs": 3.0,
        "sequence_parallel_size": 1,
        "average_tokens_across_devices": True,
        "lazy_tokenize": False,
    }
    return SimpleNamespace(**{**given, **change})


def test_a_run_in_order_is_let_through() -> None:
    check_arguments(arguments())
    check_arguments(arguments(loss_scale=f"last_round+{NAME}+ignore_empty_think"))


def test_a_run_without_our_names_is_not_looked_at() -> None:
    check_arguments(arguments(loss_type=None, loss_scale="default", callbacks=[], streaming=True))


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"loss_type": None}, "--loss_type rlkd_structured is missing"),
        ({"loss_scale": "default"}, "--loss_scale rlkd_structured is missing"),
        ({"callbacks": ["x"]}, "--callbacks rlkd_structured is missing"),
        (
            {"loss_type": None, "callbacks": []},
            "--loss_type rlkd_structured and --callbacks rlkd_structured is missing",
        ),
    ],
)
def test_the_three_names_belong_together(change: dict[str, Any], missing: str) -> None:
    with pytest.raises(RlkdError, match=missing):
        check_arguments(arguments(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train_epochs": 2.0}, r"--num_train_epochs 2 does not fit the 3 phases meta,solve"),
        ({"num_train_epochs": 2.5}, r"--num_train_epochs 2\.5 does not fit"),
        ({"streaming": True}, "--streaming true"),
        ({"sequence_parallel_size": 2}, "--sequence_parallel_size 2"),
        ({"average_tokens_across_devices": False}, "--average_tokens_across_devices false"),
        ({"lazy_tokenize": True}, "--lazy_tokenize true"),
        ({"rlhf_type": "dpo"}, "--rlhf_type dpo .* is for `swift sft`"),
        ({"cached_dataset": ["x"]}, r"--cached_dataset \['x'\]"),
        ({"template_backend": "jinja"}, "--template_backend jinja"),
        ({"is_binary_loss_scale": True}, "--is_binary_loss_scale true"),
        ({"enable_channel_loss": True}, "--enable_channel_loss true"),
        ({"task_type": "embedding"}, "--task_type embedding"),
        ({"auto_find_batch_size": True}, "--auto_find_batch_size true"),
        (
            {"restore_callback_states_from_checkpoint": True},
            "--restore_callback_states_from_checkpoint true",
        ),
        ({"loss_scale": f"agentflan+{NAME}"}, "agentflan cannot be used with"),
        ({"loss_scale": f"all+{NAME}"}, "all cannot be used with"),
        ({"callbacks": [NAME, "early_stop"]}, "early_stop cannot be used with"),
    ],
)
def test_arguments_that_it_cannot_serve_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RlkdError, match=message):
        check_arguments(arguments(**change))


def test_other_phases_want_other_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKD_PHASES", "meta, solve,mixed,mixed")
    check_arguments(arguments(num_train_epochs=4.0))
    with pytest.raises(RlkdError, match="does not fit the 4 phases"):
        check_arguments(arguments())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RLKD_PHASES", "meta,solv", "RLKD_PHASES"),
        ("RLKD_PHASES", "mixed", "needs a and b: train meta and solve before it"),
        ("RLKD_MIX_A", "1.0", "RLKD_MIX_A and RLKD_MIX_B belong together"),
        ("RLKD_MIX_B", "-1", "RLKD_MIX_B"),
        ("RLKD_PHASE_INTERVAL", "0", "RLKD_PHASE_INTERVAL"),
        ("RLKD_MAX_LOST_ROWS", "2", "RLKD_MAX_LOST_ROWS"),
    ],
)
def test_a_wrong_setting_is_named(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RlkdError, match=message):
        check_arguments(arguments())


def test_ms_swift_itself_asks_for_the_check() -> None:
    """Before it makes its training arguments, so before any model is loaded."""
    from swift.trainers import TrainerFactory

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    register_all()
    with pytest.raises(RlkdError, match="--loss_type rlkd_structured is missing"):
        TrainerFactory.get_training_args(arguments(loss_type=None))


def test_max_steps_that_cut_a_phase_are_refused() -> None:
    # 5 batches, 2 a step: 3 steps an epoch, 9 in all
    def args(steps: int) -> Any:
        return SimpleNamespace(max_steps=steps, gradient_accumulation_steps=2)

    assert check_steps(args(-1), range(5), 3) == 3
    assert check_steps(args(9), range(5), 3) == 3
    for steps in (8, 10):
        with pytest.raises(RlkdError, match=rf"--max_steps {steps} .*at step 9 \(an epoch has 3"):
            check_steps(args(steps), range(5), 3)


class Rows(list):
    """A data set with messages, within those that ms-swift wraps around it."""

    column_names = ("messages",)

    def __getitem__(self, name: str) -> list[Any]:
        return [[{"role": "assistant", "content": text}] for text in self]


class Turns(list):
    """A data set with whole conversations."""

    column_names = ("messages",)

    def __getitem__(self, name: str) -> list[Any]:
        return list(self)


def test_responses_that_are_no_structures_are_named() -> None:
    rows = Rows([STRUCTURE, "no", STRUCTURE.partition("\n\nSo")[0], *["x"] * 6])
    wrapped = SimpleNamespace(dataset=SimpleNamespace(dataset=rows))
    check_rows("train_dataset", SimpleNamespace(dataset=Rows([STRUCTURE])))
    with pytest.raises(RlkdError, match="8 responses of the train_dataset") as error:
        check_rows("train_dataset", wrapped)
    assert "row 2: no whole step in 'no'" in str(error.value)
    assert "row 3: it breaks off or has no final answer" in str(error.value)
    assert str(error.value).endswith("... and 3 more")


def test_a_turn_that_is_not_trained_may_be_anything() -> None:
    turns = [
        {"role": "assistant", "content": "Sure.", "loss": False},
        {"role": "assistant", "content": STRUCTURE},
    ]
    check_rows("train_dataset", Turns([turns]))


def test_a_weight_in_the_row_is_refused() -> None:
    turn = {"role": "assistant", "content": STRUCTURE, "loss_scale": 2.0}
    with pytest.raises(RlkdError, match="row 1 has a loss_scale of its own"):
        check_rows("train_dataset", Turns([[turn]]))


def test_no_evaluation_set_has_no_responses() -> None:
    check_rows("eval_dataset", None)
    check_rows("eval_dataset", [])


def test_lost_rows_are_refused_above_a_share() -> None:
    check_lost_rows("x", 100, 95, 0.05)
    with pytest.raises(RlkdError, match="6 of 100 rows could not be encoded"):
        check_lost_rows("x", 100, 94, 0.05)


def callback(epoch_steps: int = 3, **settings: Any) -> RlkdStructured:
    """A callback as it is before a run, without a trainer."""
    made = RlkdStructured.__new__(RlkdStructured)
    made.settings = Settings(**settings)
    made.phases = made.settings.phases
    made.weights = made._fresh_weights()
    made.epoch_steps = epoch_steps
    return made


@pytest.mark.parametrize("step", [3, 4, 6])
def test_a_checkpoint_without_our_state_is_refused_after_the_first_phase(step: int) -> None:
    with pytest.raises(RlkdError, match=f"no state of rlkd_structured, and phase {step // 3 + 1}"):
        callback()._restore(None, step)


def test_in_the_first_phase_it_goes_on() -> None:
    callback()._restore(None, 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"phases": "meta,solve,mixed,mixed"},
            "RLKD_PHASES=meta,solve,mixed,mixed, this one has meta,solve,mixed:",
        ),
        ({"phase_interval": 50}, "RLKD_PHASE_INTERVAL=50, this one has 100"),
        ({"mix_a": 1.0, "mix_b": 2.0}, r"RLKD_MIX_A=1\.0, this one has None"),
        ({"epoch_steps": 5}, "steps an epoch=5, this one has 3: .*devices, batch size"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(other: dict[str, Any], message: str) -> None:
    with pytest.raises(RlkdError, match=message):
        callback()._restore(callback(**other).state(), 4)


def test_a_checkpoint_gives_back_the_sums() -> None:
    before = callback()
    before.weights.record("meta", 2.0, None)
    after = callback()
    after._restore(before.state(), 1)
    assert after.weights == before.weights


def test_a_phase_that_learned_nothing_ends_the_run() -> None:
    made = callback()
    made.phase = "solve"
    with pytest.raises(RlkdError, match="no step of the phase solve had a token"):
        made.on_epoch_end(None, None, None)


def test_megatron_is_refused_where_it_would_take_codes_for_weights() -> None:
    made = template(tokenizer_with(), "train", loss_scale=NAME)
    made.use_megatron = True
    with pytest.raises(RlkdError, match="is for `swift sft`; Megatron"):
        _ = made.loss_scale
