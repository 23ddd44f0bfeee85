"""The models that a run kept, found in its folders: after a resume, of a LoRA, while it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_eval.run_models import RunModel, run_models

BASE = "Qwen/Qwen2.5-Math-7B"


def part(out: Path, name: str, snapshots: str = "", checkpoints: str = "", **args: Any) -> Path:
    """A folder of a run with the models of these steps."""
    run = out / name
    run.mkdir(parents=True)
    (run / "args.json").write_text(json.dumps({"model": BASE, **args}))
    for places, steps in ((run / "snapshots", snapshots), (run, checkpoints)):
        for step in steps.split():
            model(places / f"checkpoint-{step}")
    return run


def model(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names or ("model.safetensors", "config.json", "trainer_state.json"):
        (folder / name).write_text("{}")
    return folder


def steps(found: list[RunModel]) -> list[int]:
    return [one.step for one in found]


def test_a_runs_snapshots_in_the_order_of_their_steps(tmp_path: Path) -> None:
    """Checkpoints that come and go are none of them."""
    run = part(tmp_path / "shift_rlkd", "v0-20260101-120000", "100 20 80", "90 100")
    (run / "snapshots" / ".checkpoint-40.part").mkdir()
    (run / "last").symlink_to(run / "checkpoint-100")
    found = run_models(tmp_path / "shift_rlkd")
    assert steps(found) == [20, 80, 100]
    first = found[0]
    assert first == RunModel("shift_rlkd", 20, str(run / "snapshots" / "checkpoint-20"))
    assert (first.label, first.folder_name) == ("shift_rlkd, step 20", "checkpoint-20")
    assert run_models(run) == run_models(run / "snapshots") == found


def test_without_snapshots_whole_checkpoints_count(tmp_path: Path) -> None:
    run = part(tmp_path, "run", checkpoints="10 20")
    (run / "checkpoint-20" / "trainer_state.json").unlink()  # it is being written
    model(run / "checkpoint-30", "trainer_state.json", "optimizer.pt")  # ZeRO-3, not gathered
    assert steps(run_models(run)) == [10]


def test_steps_are_chosen_from_both(tmp_path: Path) -> None:
    run = part(tmp_path, "run", "20 40", "40 50")
    assert [one.model for one in run_models(run, [50, 40])] == [
        str(run / "snapshots" / "checkpoint-40"),
        str(run / "checkpoint-50"),
    ]
    with pytest.raises(RlkdError, match="has no model of step 60; it has steps 20, 40, 50"):
        run_models(run, [20, 60])


def test_a_resumed_run_has_the_steps_of_all_its_parts_once(tmp_path: Path) -> None:
    """Not those after the checkpoint that it resumed from, nor those of another run beside it."""
    out = tmp_path / "rlkd"
    part(out, "v0-1", "20 40")  # another attempt
    first = part(out, "v1-2", "20 40 60 80")
    resumed = str(first / "checkpoint-50")
    second = part(out, "v2-3", "60", resume_from_checkpoint=resumed, model=resumed)
    third = part(
        out, "v10-4", "70 100", resume_from_checkpoint="/moved/v2-3/checkpoint-60", model="x"
    )
    found = run_models(out, with_base=True)
    kept = [Path(one.model).parent.parent for one in found[1:]]
    assert steps(found) == [0, 20, 40, 60, 70, 100]
    assert kept == [first, first, second, third, third]
    assert found[0].model == BASE  # of the first part: later ones name the checkpoint
    assert steps(run_models(second)) == [20, 40, 60]


def test_a_run_that_resumes_itself_ends(tmp_path: Path) -> None:
    run = tmp_path / "run"
    part(tmp_path, "run", "20", resume_from_checkpoint=str(run / "checkpoint-10"))
    assert steps(run_models(run)) == [20]
    with pytest.raises(RlkdError, match="does not name the model that the run started from"):
        run_models(run, with_base=True)
    assert run_models(run, base="given", with_base=True)[0] == RunModel("run", 0, "given")


def test_weights_alone_begin_a_new_run(tmp_path: Path) -> None:
    part(tmp_path, "v0-1", "20")
    start = str(tmp_path / "v0-1" / "checkpoint-20")
    options = {"resume_only_model": True, "ignore_data_skip": True, "model": start}
    run = part(tmp_path, "v1-2", "10", resume_from_checkpoint=start, **options)
    assert [(one.step, one.model) for one in run_models(run, with_base=True)] == [
        (0, start),
        (10, str(run / "snapshots" / "checkpoint-10")),
    ]


@pytest.mark.parametrize("start", ["/sft/checkpoint-9", ["/sft/checkpoint-9"]])
def test_a_run_that_goes_on_training_a_lora_began_with_it(start: Any, tmp_path: Path) -> None:
    """The base model alone would be a step 0 that the run never was at."""
    run = part(tmp_path, "run", "20", adapters=start)
    assert run_models(run, with_base=True)[0] == RunModel("run", 0, BASE, "/sft/checkpoint-9")
    moved = run_models(run, base="/moved", with_base=True)[0]
    assert moved == RunModel("run", 0, "/moved", "/sft/checkpoint-9")


def test_a_run_that_began_with_several_loras_has_no_step_0(tmp_path: Path) -> None:
    run = part(tmp_path, "run", "20", adapters=["/one", "/two"])
    with pytest.raises(RlkdError, match=r"started from several LoRAs \(\['/one', '/two'\]\)"):
        run_models(run, with_base=True)
    assert steps(run_models(run)) == [20]


def test_only_folders_are_parts_of_a_run(tmp_path: Path) -> None:
    part(tmp_path / "run", "v0-1", "20")
    (tmp_path / "run" / "v1-2.tar").write_text("a copy for a colleague")
    assert steps(run_models(tmp_path / "run")) == [20]


def test_an_adapter_stands_on_its_base_model(tmp_path: Path) -> None:
    run = part(tmp_path, "lora")
    folder = run / "snapshots" / "checkpoint-20"
    names = "adapter_model.safetensors", "adapter_config.json", "trainer_state.json", "args.json"
    model(folder, *names)
    with pytest.raises(RlkdError, match="does not name its base model"):
        run_models(run)
    assert run_models(run, base="local") == [RunModel("lora", 20, "local", str(folder))]
    (folder / "args.json").write_text(json.dumps({"model": BASE}))
    assert run_models(run) == [RunModel("lora", 20, BASE, str(folder))]
    assert run_models(run)[0].place == str(folder)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda run: None, "there is no folder"),
        (lambda run: run.mkdir(), "has neither a snapshot nor a whole checkpoint"),
        (lambda run: model(run / "checkpoint-1"), "is one checkpoint: give it as --model"),
    ],
)
def test_what_is_no_run_is_said(make: Any, says: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    made = make(run)
    with pytest.raises(RlkdError, match=says):
        run_models(made if isinstance(made, Path) else run)


def test_broken_arguments_are_named(tmp_path: Path) -> None:
    run = part(tmp_path, "run", "20")
    (run / "args.json").write_text("{")
    with pytest.raises(RlkdError, match=r"run/args\.json cannot be read"):
        run_models(run)
