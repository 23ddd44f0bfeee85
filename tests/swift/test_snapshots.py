"""Real `swift sft` runs keep snapshots beside two checkpoints, also after a resume."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.swift_run import FLOAT32, ONE_STEP_A_LINE, PLUGIN, swift
from tools.stand_ins.hub_shapes import openr1

STEPS = "RLKD_SNAPSHOT_STEPS"


def train(
    model: Path, out: Path, env: Mapping[str, str], code: int = 0, **options: Any
) -> tuple[Path, str]:
    """Train all parameters; return the newest run's folder and what was said."""
    file = out.parent / "rows.jsonl"
    rows = [{"messages": openr1(number)["messages"]} for number in range(1, 9)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "external_plugins": PLUGIN,
        "callbacks": "rlkd_snapshots",
        "dataset": str(file),
        "model": model,
        "model_type": "qwen2",
        "template": "chatml",
        "tuner_type": "full",
        "learning_rate": 1e-2,
        "max_length": 128,
        "truncation_strategy": "right",
        "per_device_train_batch_size": 2,
        "save_steps": 1,
        "save_total_limit": 2,
        "output_dir": out,
        **FLOAT32,
        **ONE_STEP_A_LINE,
        "add_version": True,
        **options,
    }
    said = swift("sft", code=code, env=env, **given)
    runs = sorted(out.glob("v*-*"), key=lambda run: int(re.findall(r"v(\d+)", run.name)[0]))
    return runs[-1], said


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> tuple[Path, Path]:
    """A run of five steps that lost a snapshot, and the run that resumes it from step 4."""
    out = tmp_path_factory.mktemp("snapshots") / "out"
    first, _ = train(tiny, out, {STEPS: "1,2,4"}, max_steps=5)
    assert names(first / "snapshots") == ["checkpoint-1", "checkpoint-2", "checkpoint-4"]
    (first / "snapshots" / "checkpoint-4").rename(out.parent / "gone")  # as a kill may leave it
    checkpoint = first / "checkpoint-4"
    second, said = train(
        tiny, out, {STEPS: "2, 4, 6,8"}, max_steps=6, resume_from_checkpoint=checkpoint
    )
    assert "names step 8, but the run ends at step 6: there will be no such snapshot" in said
    return first, second


def test_the_snapshots_of_both_runs_stay_beside_two_checkpoints(
    resumed: tuple[Path, Path],
) -> None:
    """The one that the first run lost is taken before the second begins."""
    first, second = resumed
    assert names(first / "snapshots") == ["checkpoint-1", "checkpoint-2", "checkpoint-4"]
    assert names(second / "snapshots") == ["checkpoint-6"]
    for run, kept in ((first, ["4", "5"]), (second, ["5", "6"])):
        assert [n for n in names(run) if re.match(r"checkpoint-\d", n)] == [
            f"checkpoint-{step}" for step in kept
        ]


def test_a_snapshot_is_what_a_server_needs_and_nothing_to_resume_from(
    resumed: tuple[Path, Path],
) -> None:
    first, _ = resumed
    state = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    for step in (1, 4):
        held = set(names(first / "snapshots" / f"checkpoint-{step}"))
        assert {"model.safetensors", "config.json", "args.json", "trainer_state.json"} <= held
        assert {"tokenizer.json", "generation_config.json"} <= held
        assert not held & state
    checkpoint, snapshot = first / "checkpoint-4", first / "snapshots" / "checkpoint-4"
    assert state == set(names(checkpoint)) - set(names(snapshot))
    # weights are one file under two names; a config is not
    assert (checkpoint / "model.safetensors").samefile(snapshot / "model.safetensors")
    assert not (checkpoint / "config.json").samefile(snapshot / "config.json")


def test_each_snapshot_loads_with_the_weights_of_its_step(resumed: tuple[Path, Path]) -> None:
    first, second = resumed
    seen = []
    for run, step in ((first, 1), (first, 2), (first, 4), (second, 6)):
        folder = run / "snapshots" / f"checkpoint-{step}"
        assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == step
        model = AutoModelForCausalLM.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
        saved = load_file(folder / "model.safetensors")
        for name, value in model.state_dict().items():
            assert name not in saved or value.equal(saved[name])
        seen.append(saved["model.norm.weight"])
    assert not any(one.equal(other) for n, one in enumerate(seen) for other in seen[:n])


def test_a_step_that_is_never_saved_is_refused_before_the_first(tiny: Path, tmp_path: Path) -> None:
    given = {"save_steps": 2, "max_steps": 4}
    run, said = train(tiny, tmp_path / "out", {STEPS: "2,3"}, code=1, **given)
    assert "RLKD_SNAPSHOT_STEPS names step 3, which is never saved" in said
    assert not list(run.glob("checkpoint-*"))
