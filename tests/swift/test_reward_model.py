"""Real `swift rlhf` GRPO runs with the GSRM as `--reward_model`, on one rank and ZeRO-3 on two."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.engines.trace import TraceRow, read_rows, replay, trace_row
from tests.support.memorised import ANSWERS, BOTTLES, PENS
from tests.support.swift_run import (
    GLOO,
    ONE_STEP_A_LINE,
    PLUGIN,
    rows,
    steps_logged,
    swift,
    tiny_options,
)
from tools.stand_ins.batch import score
from tools.stand_ins.swift_deploy import deploy
from tools.stand_ins.tiny_model import memorising_model

PROBLEM = "P"


@pytest.fixture(scope="module")
def gsrm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that takes two paths apart, and judges; as a student it writes one of them."""
    folder = tmp_path_factory.mktemp("gsrm") / "tiny"
    return memorising_model(folder, {**ANSWERS, PROBLEM: PENS, "Q": BOTTLES})


def run(
    gsrm: Path, folder: Path, ranks: int, env: Mapping[str, str] | None = None, **options: Any
) -> Path:
    """Train for three steps; return the output folder."""
    data = folder / "rows.jsonl"
    made = [
        {
            "messages": [{"role": "user", "content": text}],
            "problem": PROBLEM,
            "solution": "\\boxed{5}",
            "domain": "math",
            "teacher_reasoning": teacher,
        }
        for text, teacher in ((PROBLEM, PENS), ("Q", PENS))
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in made * 6))
    given = {
        "rlhf_type": "grpo",
        "external_plugins": [PLUGIN],
        "reward_model": gsrm,
        "reward_model_plugin": "rlkd_gsrm",
        "reward_model_type": "qwen2",
        "reward_template": "chatml",
        "dataset": f"rlkd/jsonl:{data}",
        "callbacks": "rlkd_metrics",
        "reward_funcs": "accuracy",
        "num_generations": 4,
        "temperature": 0.7,
        "per_device_train_batch_size": 4,
        "max_completion_length": 32,
        "beta": 0,
        "max_steps": 3,
        "save_strategy": "no",
        "learning_rate": 1e-6,
        "tuner_type": "full",
        "optim": "adamw_torch",
        "output_dir": folder / "out",
        "log_completions": True,
        **tiny_options(gsrm),
        **ONE_STEP_A_LINE,
        **options,
    }
    ours = {"RLKD_CACHE_DIR": str(folder / "cache"), "RLKD_GSRM_MAX_TOKENS": "128"}
    swift("rlhf", ranks=ranks, env={**ours, **(env or {})}, **given)
    return folder / "out"


@pytest.fixture(scope="module")
def server(gsrm: Path) -> Iterator[Engine]:
    """The same weights behind `swift deploy`, in float32, one request after the other."""
    with deploy(gsrm, "qwen2", "chatml", 128) as engine:
        yield engine


def outcome(row: TraceRow) -> str:
    """Return what does not depend on which completion it is, to sort and compare."""
    return repr((row.teacher, row.student, row.step_scores, row.reward))


def check(out: Path, ranks: int, server: Engine) -> None:
    """Structures and rewards are those of the same weights behind a server."""
    logs = steps_logged(out)
    assert len(logs) == 3
    traced = [row for n in range(ranks) for row in read_rows(out / f"rlkd_trace_rank{n}.jsonl")]
    assert len(traced) == 3 * 4 * ranks
    well_formed = [row for row in traced if row.student.final_answer]
    assert len(well_formed) >= 10
    for row in well_formed:
        again = replay(row)
        assert again and again.total == row.reward
    tables = {table["step"][0]: table for table in rows(out / "completions.jsonl")}
    samples = [
        Sample(text, PROBLEM, "math", PENS)
        for table in tables.values()
        for text in table["completion"][-4 * ranks :]  # before them stand earlier ones
    ]
    scores = score(server, samples)
    expected = [trace_row(one, one.reward.total if one.reward else 0.0) for one in scores]
    assert sorted(map(outcome, traced)) == sorted(map(outcome, expected))
    for line in logs:
        mean = line["rewards/tiny/mean"]
        assert line["rlkd/structure_reward"] == pytest.approx(mean, abs=1e-5)
    assert max(line["rlkd/structure_reward"] for line in logs) > 0


def test_one_rank(gsrm: Path, server: Engine, tmp_path: Path) -> None:
    check(run(gsrm, tmp_path, 1, env={"RLKD_LOCAL_BATCH": "1"}), 1, server)


def test_zero_3_on_two_ranks(gsrm: Path, server: Engine, tmp_path: Path) -> None:
    """The ranks have unequal numbers of rounds, and still go in step."""
    gloo = tmp_path / "gloo.py"
    gloo.write_text(GLOO)
    options = {"deepspeed": "zero3", "external_plugins": [PLUGIN, gloo]}
    check(run(gsrm, tmp_path, 2, **options), 2, server)
