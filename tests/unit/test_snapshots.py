"""Snapshots of checkpoints: what they hold, what a kill or a full disk leaves, what is refused."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.rlkd_data import snapshots
from rlkd_plugin.rlkd_data.snapshots import checkpoint_step, take_snapshot, unshare_weights
from rlkd_plugin.swift_hooks.snapshots import RlkdSnapshots

MODEL = {
    *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    *("model.safetensors.index.json", "config.json", "generation_config.json", "args.json"),
    *("tokenizer.json", "chat_template.jinja", "modeling_own.py", "trainer_state.json"),
    "more/chat.jinja",
}
ADAPTER = {"adapter_model.safetensors", "adapter_config.json", "additional_config.json"}
STATE = {
    *("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "latest"),
    *("global_step20/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_to_fp32.py"),
    *("optimizer_0/__0_0.distcp", "rng_state.pth", "scaler.pt"),
}


def checkpoint(run: Path, step: int = 20, held: set[str] = MODEL | STATE, text: str = "") -> Path:
    folder = run / f"checkpoint-{step}"
    for name in held:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name + text)
    return folder


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("held", [MODEL, ADAPTER])
def test_a_snapshot_holds_the_model_alone_and_outlives_the_checkpoint(
    held: set[str], tmp_path: Path
) -> None:
    whole = checkpoint(tmp_path, held=held | STATE)
    kept = take_snapshot(whole)
    for file in whole.rglob("*"):
        if file.is_file():
            file.unlink()
    assert kept == tmp_path / "snapshots" / "checkpoint-20"
    assert files(kept) == held
    assert all((kept / name).read_text() == name for name in held)


def test_without_links_weights_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems know no hard links."""

    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    whole = checkpoint(tmp_path)
    kept = take_snapshot(whole)
    name = "model-00001-of-00002.safetensors"
    assert files(kept) == MODEL and not (kept / name).samefile(whole / name)


def test_what_a_kill_left_does_not_stay(tmp_path: Path) -> None:
    """A half snapshot has another name, so nobody takes it for one."""
    for end in ("part", "old"):
        left = tmp_path / "snapshots" / f".checkpoint-20.{end}"
        left.mkdir(parents=True)
        (left / "of_another.json").write_text("{}")
    kept = take_snapshot(checkpoint(tmp_path))
    assert files(kept) == MODEL
    assert [place.name for place in kept.parent.iterdir()] == ["checkpoint-20"]


def test_the_step_that_was_saved_last_is_the_snapshot(tmp_path: Path) -> None:
    """A run that goes on in its own folder reaches a step a second time."""
    take_snapshot(checkpoint(tmp_path))
    for file in (tmp_path / "checkpoint-20").glob("*.safetensors"):
        file.unlink()
    kept = take_snapshot(checkpoint(tmp_path, text=" again"))
    assert all((kept / name).read_text() == name + " again" for name in MODEL)
    assert [place.name for place in kept.parent.iterdir()] == ["checkpoint-20"]


def test_a_checkpoint_that_is_saved_again_leaves_its_snapshot_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors before 0.8 writes into the file that is there, which is the snapshot's too."""
    made, args = callback(tmp_path, monkeypatch, "20")
    whole = checkpoint(tmp_path)
    kept = take_snapshot(whole)
    made.on_step_end(args, state(20), SimpleNamespace(should_save=False))
    name = "model-00001-of-00002.safetensors"
    assert (kept / name).samefile(whole / name)
    made.on_step_end(args, state(20), SimpleNamespace(should_save=True))
    checkpoint(tmp_path, text=" again")
    assert all((kept / name).read_text() == name for name in MODEL)
    unshare_weights(whole)
    assert (whole / name).read_text() == name + " again"  # a file of its own stays


def test_a_snapshot_that_was_set_aside_stays_as_it_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, args = callback(tmp_path, monkeypatch, "20")
    take_snapshot(checkpoint(tmp_path))
    made.on_train_begin(args, state(10), None)
    made.on_step_end(args, state(20), SimpleNamespace(should_save=True))
    checkpoint(tmp_path, text=" again")
    made.on_save(args, state(20), None)
    [aside] = tmp_path.glob("snapshots/before-*/checkpoint-20")
    assert all((aside / name).read_text() == name for name in MODEL)
    assert (tmp_path / "snapshots" / "checkpoint-20" / "config.json").read_text().endswith("again")


def test_an_earlier_runs_snapshots_of_later_steps_are_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that begins, or goes on, in the same folder: they are not its own."""
    for step in (10, 20, 30):
        take_snapshot(checkpoint(tmp_path, step))
    made, args = callback(tmp_path, monkeypatch, "10,20,30")
    made.on_train_begin(args, state(20), None)
    found = sorted(place.parent.name for place in tmp_path.glob("snapshots/**/config.json"))
    assert found == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert sorted(place.name[:7] for place in (tmp_path / "snapshots").iterdir()) == [
        *("before-", "checkpo", "checkpo")
    ]
    assert not (tmp_path / "snapshots" / "checkpoint-30").exists()


def test_a_full_disk_leaves_no_half_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots.shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left on device"):
        take_snapshot(checkpoint(tmp_path))
    assert files(tmp_path / "snapshots") == set()
    assert not any((tmp_path / "snapshots").iterdir())


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    """ZeRO-3 leaves such ones, where it does not gather them."""
    with pytest.raises(RlkdError, match="holds no weights"):
        take_snapshot(checkpoint(tmp_path, held=STATE | {"config.json"}))


@pytest.mark.parametrize(("name", "step"), [("checkpoint-20", 20), ("checkpoint-x", None)])
def test_a_checkpoint_is_known_by_its_name(name: str, step: int | None) -> None:
    assert checkpoint_step(Path(name)) == step


@pytest.mark.parametrize(
    ("text", "steps"), [("20,40", (20, 40)), (" 40, 20,20,", (20, 40)), ("", ())]
)
def test_steps_are_read(text: str, steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKD_SNAPSHOT_STEPS", text)
    assert load_settings().snapshot_steps == steps


@pytest.mark.parametrize("text", ["20;40", "every 20", "0", "-1", "2.5", "1e3", "\u0662"])
def test_steps_that_are_none_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKD_SNAPSHOT_STEPS", text)
    with pytest.raises(RlkdError, match=r"RLKD_SNAPSHOT_STEPS=.*give steps as whole numbers"):
        load_settings()


def callback(run: Path, monkeypatch: pytest.MonkeyPatch, steps: str, **given: Any) -> Any:
    """The callback with these arguments of ms-swift's, and itself as its trainer."""
    monkeypatch.setenv("RLKD_SNAPSHOT_STEPS", steps)
    usual = {"save_strategy": "steps", "use_flash_ckpt": False, "deepspeed": None}
    args: Any = SimpleNamespace(output_dir=str(run), resume_from_checkpoint=None, **usual | given)
    made = RlkdSnapshots(args, SimpleNamespace(args=args))  # pyright: ignore[reportArgumentType]
    return made, args


GATHER = "stage3_gather_16bit_weights_on_model_save"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"save_strategy": "epoch"}, "needs --save_strategy steps"),
        ({"use_flash_ckpt": True}, "remove --use_flash_ckpt true"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, f"set {GATHER} to true"),
    ],
)
def test_runs_whose_checkpoints_are_not_whole_are_refused(
    given: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RlkdError, match=says):
        callback(tmp_path, monkeypatch, "20", **given)
    callback(tmp_path, monkeypatch, "", **given)  # no snapshots, nothing to refuse
    zero = {"zero_optimization": {"stage": 3, GATHER: True}}
    callback(tmp_path, monkeypatch, "20", deepspeed=zero)


def state(step: int, last: int = 40, first_process: bool = True) -> Any:
    return SimpleNamespace(
        global_step=step, max_steps=last, save_steps=10, is_world_process_zero=first_process
    )


def test_the_last_step_need_be_no_multiple_of_save_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, args = callback(tmp_path, monkeypatch, "20,35")
    made.on_train_begin(args, state(0, last=35), None)
    with pytest.raises(RlkdError, match=r"names step 35, which is never saved: give multiples of"):
        made.on_train_begin(args, state(0), None)


def test_a_snapshot_that_failed_is_tried_at_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on; while the checkpoint is there, the snapshot can still be taken."""
    made, args = callback(tmp_path, monkeypatch, "20")
    made.on_train_begin(args, state(0), None)
    (tmp_path / "snapshots").write_text("in the way")
    checkpoint(tmp_path, 20)
    made.on_save(args, state(20), None)
    checkpoint(tmp_path, 30)
    made.on_save(args, state(30), None)
    assert (tmp_path / "snapshots").is_file()
    (tmp_path / "snapshots").unlink()
    made.on_save(args, state(40), None)
    assert files(tmp_path / "snapshots") == {f"checkpoint-20/{name}" for name in MODEL}


def test_only_the_first_process_of_all_takes_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, args = callback(tmp_path, monkeypatch, "20")
    made.on_train_begin(args, state(0, first_process=False), None)
    checkpoint(tmp_path, 20)
    made.on_save(args, state(20, first_process=False), None)
    assert not (tmp_path / "snapshots").exists()
