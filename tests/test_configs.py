"""Every YAML goes through ms-swift's own reading of it, as `swift sft x.yaml` does."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.swift_run import ROOT
from tests.tiny_model import tiny_model

CONFIGS = sorted((ROOT / "swift_configs").glob("*.yaml"))


def arguments(file: Path, *overrides: str) -> tuple[Any, list[str]]:
    """ms-swift's arguments for a file, and what it did not know of it."""
    from swift.arguments import RLHFArguments, SftArguments
    from swift.cli.main import parse_yaml_args
    from swift.utils import parse_args

    words = [str(file)]
    parse_yaml_args(words)
    is_rlhf = "rlhf_type" in yaml.safe_load(file.read_text("utf-8"))
    return parse_args(RLHFArguments if is_rlhf else SftArguments, [*words, *overrides])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_a_config_is_what_ms_swift_takes(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No unknown key, no wrong type, no name that is not registered."""
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load(file.read_text("utf-8"))
    for name in config.get("ENV", {}):
        monkeypatch.setenv(name, str(config["ENV"][name]))  # ms-swift sets them; set back here
    overrides = ["--output_dir", str(tmp_path / "out"), "--use_cpu", "true"]
    if not (ROOT / config["model"]).is_dir():  # a hub's model: a random one in its place
        overrides += ["--model", str(tiny_model(tmp_path / Path(config["model"]).name))]
    args, unknown = arguments(file, *overrides)
    assert unknown == []
    for key in ("learning_rate", "num_train_epochs", "max_steps", "weight_decay", "lora_rank"):
        if key in config:
            assert getattr(args, key) == config[key]


def test_the_gsrm_recipe_has_the_papers_and_the_references_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs, alpha 100; 5e-5 linear with 10% warm-up, 1e-4, 1 x 2 x 2 devices, 25,000."""
    monkeypatch.chdir(ROOT)
    file = ROOT / "swift_configs" / "gsrm_sft.yaml"
    env = yaml.safe_load(file.read_text("utf-8"))["ENV"]
    assert env == {"RLKD_PHASES": "meta,solve,mixed", "RLKD_PHASE_INTERVAL": 100}
    model = tiny_model(tmp_path / "Qwen2.5-7B-Instruct")
    args, _ = arguments(
        file, "--model", str(model), "--output_dir", str(tmp_path / "out"), "--use_cpu", "true"
    )
    assert args.training_args.get_warmup_steps(300) == 30
    assert (args.learning_rate, args.lr_scheduler_type, args.weight_decay) == (5e-5, "linear", 1e-4)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (1, 2)
    assert (args.max_length, str(args.torch_dtype)) == (25000, "torch.bfloat16")
    assert args.deepspeed["zero_optimization"]["stage"] == 3
