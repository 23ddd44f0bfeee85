"""A real `swift sample` run with the structure reward as PRM, and what its rows are good for."""

import json
from collections import Counter
from pathlib import Path

import pytest

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.swift_run import (
    ONE_STEP_A_LINE,
    PLUGIN,
    SMALL_MODEL,
    rows,
    swift,
    tiny_options,
)

PROBLEMS = {
    "Tom has 3 boxes with 4 pens each and gives 2 away. How many has he left?": (
        "The boxes hold 3 * 4 = 12 pens.\nHe keeps 12 - 2 = 10 pens."
    ),
    "A bus has 20 seats in rows of 4. How many rows?": "There are 20 / 4 = 5 rows of seats.",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples of each of two problems; the best two are kept."""
    folder = tmp_path_factory.mktemp("sample")
    turns = [
        [{"role": "user", "content": p}, {"role": "assistant", "content": t}]
        for p, t in PROBLEMS.items()
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    swift(
        "sample",
        env={"RLKD_ENGINE": "rules", "RLKD_TRACE_DIR": str(folder)},
        external_plugins=PLUGIN,
        prm_model="rlkd_gsrm",
        orm_model="math",
        engine_kwargs='{"template_type": "chatml"}',
        dataset=data,
        num_return_sequences=3,
        n_best_to_keep=2,
        max_new_tokens=48,
        prm_threshold=-1,
        temperature=0.7,
        output_dir=folder,
        output_file="kept.jsonl",
        num_sampling_batch_size=1,
        **SMALL_MODEL,
    )
    return folder


def test_every_candidate_has_its_score_and_steps(run: Path) -> None:
    """Three samples and the ground truth a problem, each with all that made its score."""
    traced = list(read_rows(run / "rlkd_sample_scores.jsonl"))
    assert Counter(row.problem for row in traced) == dict.fromkeys(PROBLEMS, 4)
    for row in traced:
        again = replay(row)
        assert row.reward == (again.total if again else 0.0)
    for last in traced[3::4]:
        assert last.is_ground_truth and last.reward == len(last.teacher.steps)


def test_the_rows_are_those_of_sft_and_of_preference_training(run: Path) -> None:
    """Messages that end with the assistant's turn, and the worst candidate as the rejected one."""
    kept = rows(run / "kept.jsonl")
    assert {row["messages"][0]["content"] for row in kept} <= set(PROBLEMS)
    for row in kept:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["rejected_response"] != row["messages"][-1]["content"]


@pytest.mark.parametrize(("command", "options"), [("sft", {}), ("rlhf", {"rlhf_type": "dpo"})])
def test_ms_swift_trains_on_them(
    run: Path, tiny: Path, command: str, options: dict[str, str]
) -> None:
    log = swift(
        command,
        dataset=run / "kept.jsonl",
        tuner_type="lora",
        max_steps=1,
        per_device_train_batch_size=1,
        output_dir=run / command,
        strict=True,
        save_strategy="no",
        **tiny_options(tiny),
        **ONE_STEP_A_LINE,
        **options,
    )
    assert "train_runtime" in log
