"""`make demo`'s student: the adapter that ships answers, and GRPO goes on with it."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.demo_student.run import PROBLEMS, SHIPPED
from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tests.support.swift_run import rows, steps_logged, swift
from tools.stand_ins.places import MODEL, ROOT
from tools.stand_ins.recipes import read

CONFIG = ROOT / "swift_configs" / "demo_grpo_cpu.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of the demo's YAML on one problem, with four completions."""
    out = tmp_path_factory.mktemp("demo")
    config = read(CONFIG)
    settings = {name: str(value) for name, value in config.pop("ENV").items()}
    config |= {
        "num_generations": 4,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "save_steps": 1,
        "torch_dtype": cpu_dtype(),
        "add_version": False,
        "output_dir": out,
    }
    swift("rlhf", env=settings, **config)
    return out


def test_grpo_goes_on_with_the_shipped_adapter(run: Path) -> None:
    """The same tensors, of the same shapes, and a step of 3e-4 away from where they were."""
    before = load_file(SHIPPED / "adapter_model.safetensors")
    after = load_file(run / "checkpoint-1" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    moved = [(after[name].float() - before[name].float()).abs().max() for name in before]
    (step,) = steps_logged(run)
    # Adam's first step is at most the learning rate; bfloat16 may round it away or up
    assert max(moved) <= 0.01
    assert (max(moved) > 0) == (step["frac_reward_zero_std"] < 1)


def test_its_completions_are_scored_in_0_to_1_and_end(run: Path) -> None:
    (step,) = steps_logged(run)
    assert 0 <= step["rlkd/structure_reward"] <= 1
    assert step["completions/clipped_ratio"] < 1
    assert len(rows(run / "completions.jsonl")) >= 1


def test_the_shipped_student_answers_in_form() -> None:
    """Without sampling: it ends, with a boxed number, and some of the numbers are right."""
    problems = [json.loads(line) for line in PROBLEMS.read_text("utf-8").splitlines()[:12]]
    tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    dtype = getattr(torch, cpu_dtype())
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype), str(SHIPPED)
    )
    prompts = [
        f"<|im_start|>user\n{row['problem']}<|im_end|>\n<|im_start|>assistant\n" for row in problems
    ]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.no_grad():
        ids = model.generate(**batch, do_sample=False, max_new_tokens=80)
    answers = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :])
    assert all("\\boxed{" in answer and "<|im_end|>" in answer for answer in answers)
    right = sum(row["solution"] in text for row, text in zip(problems, answers, strict=True))
    assert right >= 2
