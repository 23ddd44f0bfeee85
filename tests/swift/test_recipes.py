"""Every distinct recipe takes two real steps on the CPU, ZeRO-3 included, with a tiny model."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.trace import replay
from tests.support.loopback import GSRM, JUDGE, Loopback
from tests.support.swift_run import ROOT, rows, steps_logged
from tools.stand_ins import recipes
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.recipes import CONFIGS, beyond, merge, overlay, read
from tools.stand_ins.tiny_model import tiny_model

WITH_STRUCTURE = ("rlkd_cuda", "rlkd_zero_npu", "shift_rlkd_cuda")
SFT = ("sft_distill_npu", "shift_sft_cuda")
OTHERS = ("grpo_npu", "grpo_cuda", "ppo_reward_cuda", "ppo_npu")
ran: set[str] = set()
"""Recipes that a test of this file has run."""
REWARDS = {
    "rewards/MathAccuracy/mean": 15,
    "rewards/Format/mean": 10,
    "rewards/RlkdTagCount/mean": 10,
    "rewards/RlkdGsrm/mean": 15,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", [str(openr1(n)) for n in (1, 2)])


def run(
    name: str,
    folder: Path,
    model: Path,
    ranks: int = 1,
    options: tuple[str, ...] = (),
    **given: Any,
) -> Path:
    """Train a recipe for two steps, or as further options say; return its output folder."""
    assert name in (*WITH_STRUCTURE, *SFT, *OTHERS)
    ran.add(name)
    folder.mkdir(parents=True, exist_ok=True)
    config = read(ROOT / "swift_configs" / f"{name}.yaml")
    file = merge(config, overlay(config, folder, model, **given), folder / f"{name}.yaml")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RLKD_")}
    done = subprocess.run(
        [
            *[sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard"],  # a timeout leaves no rank
            *[sys.executable, "-m", "torch.distributed.run", "--standalone"],
            *["--nproc_per_node", str(ranks), "tools/stand_ins/on_cpu.py"],
            *[recipes.command(config), str(file), *options],
        ],
        cwd=ROOT,
        env={
            **clean,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RLKD_CACHE_DIR": str(folder),
            "RLKD_GSRM_MODEL": GSRM,
            "RLKD_JUDGE_MODEL": JUDGE,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    outs = sorted((folder / "out").glob("v*-*")) or [folder / "out"]
    return outs[-1]


def test_a_run_goes_on_from_its_checkpoint(model: Path, tmp_path: Path) -> None:
    """`RESUME` of the Procfiles: the steps go on, and the log in a new folder."""
    out = run("grpo_npu", tmp_path, model, rows=16)
    resume = ("--resume_from_checkpoint", str(out / "checkpoint-2"), "--max_steps", "4")
    again = run("grpo_npu", tmp_path, model, options=resume, rows=16)
    assert again != out
    steps = [row["global_step/max_steps"] for row in steps_logged(again)]
    assert steps == ["3/4", "4/4"]


@pytest.mark.parametrize("name", WITH_STRUCTURE)
def test_rl_with_the_structure_reward(
    name: str, loopback: Loopback, model: Path, tmp_path: Path
) -> None:
    """Two steps on a GSRM's and a judge's replies; the total is the recipe's weighted sum.

    `rlkd` runs its ZeRO-3 on two ranks.
    """
    ranks = 2 if name == "rlkd_cuda" else 1
    out = run(name, tmp_path, model, ranks, rows=16, url=loopback.url)
    logged = steps_logged(out)
    assert len(logged) == 2
    for line in logged:
        expected = sum(weight * line[reward] for reward, weight in REWARDS.items())
        assert line["reward"] == pytest.approx(expected, abs=1e-3)
    traced = [row for n in range(ranks) for row in rows(out / f"rlkd_trace_rank{n}.jsonl")]
    assert len(traced) == 2 * 8 * ranks  # per-device batch 2 x accumulation 4
    for row in traced:
        again = replay(row)
        assert (again.total if again else 0.0) == row["reward"]
    assert (out / "checkpoint-2").is_dir()


def test_the_grpo_baseline(model: Path, tmp_path: Path) -> None:
    """It asks no server."""
    out = run("grpo_cuda", tmp_path, model, rows=16)
    assert len(steps_logged(out)) == 2


@pytest.mark.parametrize("name", SFT)
def test_the_sft_baselines(name: str, model: Path, tmp_path: Path) -> None:
    out = run(name, tmp_path, model, rows=16)
    losses = [row["loss"] for row in rows(out / "logging.jsonl") if "loss" in row]
    assert len(losses) == 2


def test_ppo_on_its_reward_model(model: Path, tmp_path: Path) -> None:
    """The reward model's recipe leaves what the PPO recipe starts from."""
    reward = run("ppo_reward_cuda", tmp_path / "reward", model, rows=16)
    out = run("ppo_npu", tmp_path / "ppo", model, rows=4, reward_model=str(reward / "checkpoint-2"))
    updates = [row for row in rows(out / "logging.jsonl") if "loss/policy_avg" in row]
    assert len(updates) == 2  # 4 rows, 2 an update: ms-swift's PPO counts rows, not max_steps


def test_the_list_of_what_an_overlay_may_set(tmp_path: Path) -> None:
    """Nothing that makes a recipe what it is: no reward, weight, rate, batch, ZeRO or name."""
    assert recipes.ALLOWED == (
        *("model", "model_type", "reward_model", "reward_model_type"),
        *("template", "reward_template", "torch_dtype", "fp16", "bf16", "use_cpu", "attn_impl"),
        *("use_vllm", "vllm_*", "max_length", "max_completion_length", "dataset", "max_steps"),
        *("output_dir", "report_to", "ENV.RLKD_GSRM_BASE_URL", "ENV.RLKD_JUDGE_BASE_URL"),
    )
    config = read(ROOT / "swift_configs" / "rlkd_npu.yaml")
    change = overlay(config, tmp_path, tmp_path, rows=1)
    assert beyond(config, change) == []
    forbidden = {"learning_rate": 1.0, "deepspeed": None, "dataset": "rlkd/gsm8k#8", "beta": 0}
    assert beyond(config, change | forbidden) == [
        *("learning_rate", "deepspeed", "beta", "dataset: rlkd/gsm8k#8")
    ]


def test_every_recipe_is_run_for_one_device() -> None:
    """What a device adds is held by test_configs; everything else is run here, or in the tests of
    structured training and of the demo."""
    if missing := {*WITH_STRUCTURE, *SFT, *OTHERS} - ran:
        pytest.skip(f"not run this time: {missing}")  # some tests were chosen
    recipes_run = {name.rpartition("_")[0] for name in ran}
    files = {file.stem for file in CONFIGS} - {"gsrm_sft", "gsrm_sft_cpu", "demo_grpo_cpu"}
    assert {name.rpartition("_")[0] for name in files} == recipes_run
