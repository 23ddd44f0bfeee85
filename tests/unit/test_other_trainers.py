"""The reward as ms-swift's Megatron and Ray trainers build and call it, without a trainer.

Neither runs without a GPU: Megatron's arguments import transformer_engine, Ray's trainer vLLM's
engine. What both do to a reward is a function of ms-swift's that does run here, and is run; that
they still do it is read from their source.
"""

import ast
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from swift.rewards import rm_plugins
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import score_completions
from swift.rlhf_trainers.utils import resolve_reward_funcs

from rlkd_plugin.swift_hooks.registry import register_all
from rlkd_plugin.swift_hooks.rewards import metrics
from tests.conftest import SetOptions

TRAINERS = "swift/megatron/trainers/grpo_trainer.py", "swift/ray/megatron/grpo_trainer.py"
TEACHER = "The crate holds 6 * 4 = 24 bottles.\nWithout the broken ones there are 24 - 5 = 19."


@dataclass
class MegatronArguments:
    """The fields that Megatron's arguments share with nothing of ours but `output_dir`."""

    output_dir: str | None
    tensor_model_parallel_size: int = 1
    reward_funcs: list[str] = field(default_factory=lambda: ["rlkd_gsrm", "rlkd_tag_count"])


@dataclass
class RayArguments:
    """Arguments without even that."""

    reward_funcs: list[str] = field(default_factory=lambda: ["rlkd_gsrm", "rlkd_tag_count"])


def calls(file: str) -> list[str]:
    """The calls of a file of ms-swift's, as it is installed, each as text."""
    root = Path(find_spec("swift").origin).parents[1]
    tree = ast.parse((root / file).read_text("utf-8"))
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("file", TRAINERS)
def test_both_trainers_build_and_call_rewards_by_these_functions(file: str) -> None:
    found = calls(file)
    built = [call for call in found if call.startswith("resolve_reward_funcs(")]
    assert built and all("args=" in call for call in built)
    scored = [call for call in found if call.startswith("score_completions(")]
    assert scored and all("reward_funcs=self.reward_funcs" in call for call in scored)


@pytest.mark.parametrize("arguments", [MegatronArguments, RayArguments])
def test_the_rewards_work_there_unchanged(
    arguments: Any, options: SetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_trainer", None)
    options(engine="rules")
    register_all()
    args = arguments(str(tmp_path)) if arguments is MegatronArguments else arguments()
    functions, names = resolve_reward_funcs(args.reward_funcs, args=args)
    assert names == ["RlkdGsrm", "RlkdTagCount"]
    texts = f"<think>\n{TEACHER}\n</think>\n<answer>\n19\n</answer>", "No idea.", TEACHER
    samples = [
        GRPOSample.from_row(
            {
                "messages": [
                    {"role": "user", "content": "How many are whole?"},
                    {"role": "assistant", "content": text},
                ],
                "problem": "How many are whole?",
                "domain": "math",
                "teacher_reasoning": TEACHER,
                "solution": "\\boxed{19}",
            }
        )
        for text in texts
    ]
    for kwargs in ({}, {"trainer_state": None}):
        rewards = score_completions(
            samples,
            reward_funcs=functions,
            reward_model_plugins=[None] * len(functions),
            use_gym_env=False,
            device=torch.device("cpu"),
            **kwargs,
        )
        assert rewards.tolist() == [[2.0, 1.0], [0.0, 0.0], [2.0, 0.0]]
    traced = tmp_path / "rlkd_trace_rank0.jsonl"
    assert traced.exists() == (arguments is MegatronArguments)


def test_there_is_no_reward_model_in_these_modes() -> None:
    """Both hand over a plugin for none; the in-process engine is for ms-swift's own GRPO."""
    register_all()
    assert "rlkd_gsrm" in rm_plugins
    for file in TRAINERS:
        source = Path(find_spec("swift").origin).parents[1] / file
        assert "self.reward_model_plugins = [None] * len(self.reward_funcs)" in source.read_text()
