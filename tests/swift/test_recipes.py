"""Every distinct recipe takes two real steps on the CPU, ZeRO-3 included, with a tiny model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.loopback import GSRM, JUDGE, Loopback
from tests.support.swift_run import LONGEST_RUN, environment, rows, run_script, steps_logged
from tools.stand_ins import recipes
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import CONFIGS, beyond, merge, overlay, read
from tools.stand_ins.tiny_model import tiny_model

WITH_STRUCTURE = ("rlkd_cuda", "rlkd_zero_npu", "shift_rlkd_cuda")
SFT = ("sft_distill_npu", "shift_sft_cuda")
OTHERS = ("rlkd_kl_npu", "grpo_npu", "grpo_cuda", "ppo_reward_cuda", "ppo_npu")
ON_CPU = ROOT / "tools" / "stand_ins" / "on_cpu.py"
ran: set[str] = set()
"""Recipes that a test of this file has run."""
REWARDS = {
    "rewards/MathAccuracy/mean": 15,
    "rewards/Format/mean": 10,
    "rewards/RlkdTagCount/mean": 10,
    "rewards/RlkdGsrm/mean": 15,
}


def run(
    name: str,
    folder: Path,
    model: Path,
    *words: str,
    typed: bool = False,
    ranks: int = 1,
    **given: Any,
) -> Path:
    """Train a recipe for two steps, or as further words say; return its output folder.

    Args:
        name: of the recipe.
        folder: for its data and output.
        model: a small one.
        words: more of the command line.
        typed: start torchrun under `rlkd guard`, as the Procfiles do; else fork the ranks.
        ranks: processes.
        given: for the overlay.
    """
    ran.add(name)
    folder.mkdir(parents=True, exist_ok=True)
    config = read(ROOT / "swift_configs" / f"{name}.yaml")
    file = merge(config, overlay(config, folder, model, **given), folder / f"{name}.yaml")
    env = {"RLKD_CACHE_DIR": str(folder), "RLKD_GSRM_MODEL": GSRM, "RLKD_JUDGE_MODEL": JUDGE}
    env["RLKD_SNAPSHOT_STEPS"] = "2"
    arguments = [recipes.command(config), str(file), *words]
    if typed:
        run_guarded(ranks, arguments, env)
    else:
        run_script(ON_CPU, arguments, ranks=ranks, env={**env, "PYTHONPATH": str(ROOT)})
    outs = sorted((folder / "out").glob("v*-*")) or [folder / "out"]
    return outs[-1]


def run_guarded(ranks: int, arguments: list[str], env: dict[str, str]) -> None:
    """Run `on_cpu.py` by torchrun under `rlkd guard`: a time-out leaves no rank."""
    guard = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "guard"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*guard, *torchrun, "--nproc_per_node", str(ranks), str(ON_CPU), *arguments],
        cwd=ROOT,
        env=environment({**env, "PYTHONPATH": str(ROOT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_RUN,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_run_goes_on_from_its_checkpoint(tiny: Path, tmp_path: Path) -> None:
    """`RESUME` of the Procfiles: the steps go on, and the log in a new folder."""
    out = run("grpo_npu", tmp_path, tiny, rows=16)
    resume = ["--resume_from_checkpoint", str(out / "checkpoint-2"), "--max_steps", "4"]
    again = run("grpo_npu", tmp_path, tiny, *resume, rows=16)
    assert again != out
    steps = [row["global_step/max_steps"] for row in steps_logged(again)]
    assert steps == ["3/4", "4/4"]


@pytest.mark.parametrize("name", WITH_STRUCTURE)
def test_rl_with_the_structure_reward(
    name: str, loopback: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """Two steps on a GSRM's and a judge's replies; the total is the recipe's weighted sum.

    `rlkd` runs its ZeRO-3 on two ranks, started by torchrun.
    """
    typed = name == "rlkd_cuda"
    ranks = 2 if typed else 1
    out = run(name, tmp_path, tiny, typed=typed, ranks=ranks, rows=16, url=loopback.url)
    check_rewards(steps_logged(out))
    traced = [row for n in range(ranks) for row in read_rows(out / f"rlkd_trace_rank{n}.jsonl")]
    accumulation = 16 if name.startswith("shift") else 4
    assert len(traced) == 2 * 2 * accumulation * ranks  # of two steps; per-device batch 2
    for row in traced:
        again = replay(row)
        assert (again.total if again else 0.0) == row.reward
    check_snapshot(out, tiny)


def check_rewards(logged: list[dict[str, Any]]) -> None:
    """Both steps are there, and the total of each is the recipe's weighted sum."""
    assert len(logged) == 2
    for line in logged:
        expected = sum(weight * line[reward] for reward, weight in REWARDS.items())
        assert line["reward"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("scale", ["group", "gdpo"])
def test_the_structure_reward_beside_a_teacher(
    scale: str, loopback: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """ms-swift's own distillation: another model reads what the student wrote, and its distance is
    in the log. The rewards are as they are without it, by either scaling."""
    texts = [str(openr1(number)) for number in (1, 2)]  # the student's, for the same vocabulary
    teacher = tiny_model(tmp_path / "teacher", texts, seed=1)
    words = ["--scale_rewards", scale]
    given = {"rows": 16, "url": loopback.url, "teacher_model": str(teacher)}
    logged = steps_logged(run("rlkd_kl_npu", tmp_path, tiny, *words, **given))
    check_rewards(logged)
    assert all(line["teacher_kl"] > 0 for line in logged)


def check_snapshot(out: Path, model: Path) -> None:
    """The last step's snapshot has whole weights, which ZeRO-3's ranks hold in parts."""
    snapshot = out / "snapshots" / "checkpoint-2"
    shapes = [
        {name: value.shape for name, value in load_file(folder / "model.safetensors").items()}
        for folder in (snapshot, model)
    ]
    assert shapes[0] == shapes[1]
    assert not list(snapshot.glob("global_step*"))
    assert list((out / "checkpoint-2").glob("global_step*"))


def test_the_grpo_baseline(tiny: Path, tmp_path: Path) -> None:
    """It asks no server."""
    out = run("grpo_cuda", tmp_path, tiny, rows=16)
    assert len(steps_logged(out)) == 2


@pytest.mark.parametrize("name", SFT)
def test_the_sft_baselines(name: str, tiny: Path, tmp_path: Path) -> None:
    out = run(name, tmp_path, tiny, rows=16)
    losses = [row["loss"] for row in rows(out / "logging.jsonl") if "loss" in row]
    assert len(losses) == 2
    check_snapshot(out, tiny)


def test_ppo_on_its_reward_model(tiny: Path, tmp_path: Path) -> None:
    """The reward model's recipe leaves what the PPO recipe starts from."""
    reward = run("ppo_reward_cuda", tmp_path / "reward", tiny, rows=16)
    out = run("ppo_npu", tmp_path / "ppo", tiny, rows=4, reward_model=str(reward / "checkpoint-2"))
    updates = [row for row in rows(out / "logging.jsonl") if "loss/policy_avg" in row]
    assert len(updates) == 2  # 4 rows, 2 an update: ms-swift's PPO counts rows, not max_steps


def test_the_list_of_what_an_overlay_may_set(tmp_path: Path) -> None:
    """Nothing that makes a recipe what it is: no reward, weight, rate, batch, ZeRO or name."""
    assert set(recipes.ALLOWED) == {
        "model",
        "model_type",
        "reward_model",
        "reward_model_type",
        "teacher_model",
        "teacher_model_type",
        "template",
        "reward_template",
        "torch_dtype",
        "fp16",
        "bf16",
        "use_cpu",
        "attn_impl",
        "use_vllm",
        "vllm_*",
        "max_length",
        "max_completion_length",
        "dataset",
        "max_steps",
        "output_dir",
        "report_to",
        "ENV.RLKD_GSRM_BASE_URL",
        "ENV.RLKD_JUDGE_BASE_URL",
    }
    config = read(ROOT / "swift_configs" / "rlkd_npu.yaml")
    change = overlay(config, tmp_path, tmp_path, rows=1)
    assert beyond(config, change) == []
    forbidden = {"learning_rate": 1.0, "deepspeed": None, "dataset": "rlkd/gsm8k#8", "beta": 0}
    assert beyond(config, change | forbidden) == [
        "learning_rate",
        "deepspeed",
        "beta",
        "dataset: rlkd/gsm8k#8",
    ]


def test_every_recipe_is_run_for_one_device() -> None:
    """What a device adds is held by test_configs; everything else is run here, or in the tests of
    structured training and of the demo."""
    if missing := {*WITH_STRUCTURE, *SFT, *OTHERS} - ran:
        pytest.skip(f"not run this time: {missing}")  # some tests were chosen
    recipes_run = {name.rpartition("_")[0] for name in ran}
    files = {file.stem for file in CONFIGS} - {"gsrm_sft", "gsrm_sft_cpu", "demo_grpo_cpu"}
    assert {name.rpartition("_")[0] for name in files} == recipes_run
