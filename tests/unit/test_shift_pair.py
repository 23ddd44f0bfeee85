"""The domain-shift pair sees the same rows at each step (figure 4), by ms-swift's own samplers."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
import yaml
from swift.dataloader import BatchSamplerShard
from swift.rlhf_trainers import GRPOTrainer

from rlkd_plugin.rlkd_data.rows.formats import FORMATS
from rlkd_plugin.swift_hooks.registry import register_all
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.places import ROOT
from tools.stand_ins.tiny_model import tiny_model

DEVICES, ROWS, STEP = 4, 128, 32

Order = list[list[str]]
"""The problems of each step."""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """ms-swift's own reading of both recipes, on 128 rows of one file."""
    from swift.arguments import RLHFArguments, SftArguments
    from swift.cli.main import parse_yaml_args
    from swift.utils import parse_args

    register_all()
    folder = tmp_path_factory.mktemp("pair")
    model = tiny_model(folder / "Qwen2.5-Math-7B")
    rows = [FORMATS["openr1-math-sft"].make_row(openr1(number)) for number in range(1, ROWS + 1)]
    (folder / "shifted.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {}
    for name, kind in (("shift_rlkd", RLHFArguments), ("shift_sft", SftArguments)):
        config = yaml.safe_load((ROOT / "swift_configs" / f"{name}_cuda.yaml").read_text())
        config["dataset"] = config["dataset"].replace(
            "shifted.jsonl", str(folder / "shifted.jsonl")
        )
        config |= {"model": str(model), "output_dir": str(folder / name), "use_cpu": True}
        config = {k: v for k, v in config.items() if not k.startswith("vllm_")}
        config |= {"use_vllm": False, "external_plugins": str(ROOT / "register.py")}
        if name == "shift_sft":
            del config["use_vllm"]
        del config["ENV"], config["deepspeed"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
        words = [str(folder / f"{name}.yaml")]
        parse_yaml_args(words)
        found[name], unknown = parse_args(kind, words)
        assert unknown == []
    return found


def problems(args: Any) -> list[str]:
    """The problems of a recipe's data set, as ms-swift loads and shuffles it."""
    dataset, _ = args.load_dataset()
    asked = ([m["content"] for m in row["messages"] if m["role"] == "user"] for row in dataset)
    return [texts[-1] for texts in asked]


def rl_order(args: Any) -> Order:
    """What GRPO's sampler, which repeats each prompt, makes of them on four devices."""
    training = args.training_args
    accumulation = training.gradient_accumulation_steps
    completions = training.per_device_train_batch_size * accumulation * DEVICES
    trainer: Any = GRPOTrainer.__new__(GRPOTrainer)  # as far as its sampler needs it
    trainer.args = SimpleNamespace(
        generation_batch_size=completions, steps_per_generation=accumulation, seed=training.seed
    )
    trainer.num_generations = training.num_generations
    trainer.num_iterations = training.num_iterations
    trainer.shuffle_dataset = training.dataset_shuffle
    trainer.template = SimpleNamespace(sequence_parallel_size=1)
    trainer.train_dataset = problems(args)
    rows = [trainer.train_dataset[place] for place in trainer._get_train_sampler()]
    # a step's rows come again for each of its micro-batches, whose completions are drawn once
    step = completions * accumulation
    return [list(dict.fromkeys(rows[at : at + step])) for at in range(0, len(rows), step)]


def sft_order(args: Any, monkeypatch: pytest.MonkeyPatch) -> Order:
    """What four devices' batch samplers make of them."""
    training, rows = args.training_args, problems(args)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: DEVICES)
    ranks = []
    for rank in range(DEVICES):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        batches = BatchSamplerShard(
            len(rows),
            batch_size=training.per_device_train_batch_size,
            shuffle=training.train_dataloader_shuffle,
            drop_last=training.dataloader_drop_last,
            data_seed=training.data_seed,
        )
        ranks.append([rows[place] for batch in batches for place in batch])
    each = training.per_device_train_batch_size * training.gradient_accumulation_steps
    steps = range(0, len(ranks[0]), each)
    return [[row for rank in ranks for row in rank[at : at + each]] for at in steps]


def test_a_step_of_both_has_the_same_32_rows(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rl = rl_order(arguments["shift_rlkd"])
    sft = sft_order(arguments["shift_sft"], monkeypatch)
    assert [len(set(step)) for step in rl] == [len(set(step)) for step in sft] == [STEP] * 4
    assert [set(step) for step in rl] == [set(step) for step in sft]
    assert len({row for step in rl for row in step}) == ROWS
