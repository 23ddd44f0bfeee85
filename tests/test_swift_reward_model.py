"""Real `swift rlhf` GRPO runs with the GSRM as `--reward_model`, on one rank and ZeRO-3 on two."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.trace import replay
from rlkd_plugin.gsrm.prompts import decompose_prompt
from tests.swift_run import rows, steps_logged, swift
from tests.test_local_engine import ANSWERS, BOTTLES, PENS, STRUCTURES
from tests.tiny_model import memorising_model

PROBLEM = "P"
GLOO = "import deepspeed\ndeepspeed.init_distributed(dist_backend='gloo')\n"


@pytest.fixture(scope="module")
def gsrm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that takes two paths apart, and judges; as a student it writes one of them."""
    folder = tmp_path_factory.mktemp("gsrm") / "tiny"
    return memorising_model(folder, {**ANSWERS, PROBLEM: PENS, "Q": BOTTLES})


def run(gsrm: Path, folder: Path, ranks: int, *options: str, **env: str) -> Path:
    """Train for three steps; return the output folder."""
    data = folder / "rows.jsonl"
    made = [
        {
            **{"messages": [{"role": "user", "content": text}], "problem": PROBLEM},
            **{"solution": "\\boxed{5}", "domain": "math", "teacher_reasoning": teacher},
        }
        for text, teacher in ((PROBLEM, PENS), ("Q", BOTTLES))
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in made * 6))
    common = ["--model_type", "qwen2", "--template", "chatml"]
    swift(
        "rlhf",
        *["--rlhf_type", "grpo", "--external_plugins", "rlkd_plugin/register.py", *options],
        *["--model", str(gsrm), *common, "--check_model", "false"],
        *["--reward_model", str(gsrm), "--reward_model_plugin", "rlkd_gsrm"],
        *["--reward_model_type", "qwen2", "--reward_template", "chatml"],
        *["--dataset", f"rlkd/jsonl:{data}", "--callbacks", "rlkd_metrics"],
        *["--reward_funcs", "accuracy", "--num_generations", "4", "--temperature", "0.7"],
        *["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1"],
        *["--max_completion_length", "32", "--beta", "0", "--gradient_checkpointing", "false"],
        *["--torch_dtype", "float32", "--fp16", "false", "--bf16", "false", "--use_cpu", "true"],
        *["--max_steps", "3", "--logging_steps", "1", "--save_strategy", "no", "--report_to"],
        *["none", "--learning_rate", "1e-6", "--tuner_type", "full", "--optim", "adamw_torch"],
        *["--output_dir", str(folder / "out"), "--add_version", "false"],
        ranks=ranks,
        RLKD_CACHE_DIR=str(folder / "cache"),
        RLKD_GSRM_MAX_TOKENS="128",
        **env,
    )
    return folder / "out"


def check(out: Path, ranks: int) -> None:
    """The rewards are those of the trace, the trace those of the model's structures."""
    logs = steps_logged(out)
    assert len(logs) == 3
    traced = [row for n in range(ranks) for row in rows(out / f"rlkd_trace_rank{n}.jsonl")]
    assert len(traced) == 3 * 4 * ranks
    well_formed = [row for row in traced if row["student"]["steps"]]
    assert len(well_formed) >= 6
    known = [json.dumps(steps_of(text)) for text in STRUCTURES.values() if "[" in text]
    for row in well_formed:
        again = replay(row)
        assert again is not None and row["reward"] == again.total
        assert json.dumps(row["teacher"]["steps"]) in known
    assert all("rlkd/structure_reward" in line and "rewards/tiny/mean" in line for line in logs)
    for line in logs:
        mean = line["rewards/tiny/mean"]
        assert line["rlkd/structure_reward"] == pytest.approx(mean, abs=1e-5)
    assert max(line["rlkd/structure_reward"] for line in logs) > 0


def steps_of(text: str) -> list[Any]:
    """The steps of a structure text as the trace has them."""
    from rlkd_plugin.gsrm import parse_structure

    return [[s.meta_reasoning, s.sub_problem, s.answer] for s in parse_structure(text).steps]


def test_one_rank(gsrm: Path, tmp_path: Path) -> None:
    assert decompose_prompt("gsrm", "math", PROBLEM, PENS) in ANSWERS
    check(run(gsrm, tmp_path, 1), 1)


def test_zero_3_on_two_ranks(gsrm: Path, tmp_path: Path) -> None:
    """The ranks have unequal numbers of rounds, and still go in step."""
    gloo = tmp_path / "gloo.py"
    gloo.write_text(GLOO)
    check(run(gsrm, tmp_path, 2, str(gloo), "--deepspeed", "zero3"), 2)
