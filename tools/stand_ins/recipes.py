"""Overlays that make a recipe run on a small machine.

An overlay changes only keys of `ALLOWED`; a test holds every overlay to it. All other values of a
recipe, its rewards, weights, learning rate, batch, phases and ZeRO-3, stay as they are.
"""

import json
from collections.abc import Hashable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from rlkd_plugin.rlkd_data.rows.formats import FORMATS
from tools.stand_ins.hub_shapes import openr1, pair
from tools.stand_ins.places import ROOT

CONFIGS = sorted((ROOT / "swift_configs").glob("*.yaml"))
ALLOWED = (
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
)
"""Keys that an overlay may change; `dataset` may name a local copy, never another data set."""
SHIPPED = ("rlkd/demo", "rlkd/demo-stories", "rlkd/demo-pairs")
"""The data sets that the plugin carries."""

Config = dict[str, Any]


def read(file: Path) -> Config:
    """Return a YAML's content; a duplicate key is an error, as it hides a value."""
    return yaml.load(file.read_text("utf-8"), _UniqueKeys)


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value]
        duplicates = [name for name in names if names.count(name) > 1]
        assert duplicates == [], f"the key {duplicates[0]} stands twice"
        return super().construct_mapping(node, deep)


def command(config: Config) -> str:
    """Return the `swift` command that a YAML is for."""
    return "rlhf" if "rlhf_type" in config else "sft"


def overlay(
    config: Config,
    folder: Path,
    model: Path,
    rows: int,
    url: str = "",
    reward_model: str = "",
    teacher_model: str = "",
) -> Config:
    """Return what changes: a key's value, or None to drop the key.

    Args:
        config: the recipe.
        folder: where the data and the outputs go.
        model: a small model, instead of the recipe's.
        rows: rows of the data set.
        url: of the server of the GSRM and the judge.
        reward_model: a small reward model, for a recipe that names one.
        teacher_model: a small teacher, for a recipe that names one; by default the model itself.
    """
    change: Config = {"model": str(model), "model_type": "qwen2"}
    change |= {"use_cpu": True, "report_to": "none", "max_steps": 2, "max_length": 900}
    change["dataset"] = small_dataset(config["dataset"], folder, rows)
    change["output_dir"] = str(folder / "out")
    if "max_completion_length" in config:
        change["max_completion_length"] = 16
    if "reward_model" in config:
        change["reward_model"] = reward_model
    if "teacher_model" in config:
        change |= {"teacher_model": teacher_model or str(model), "teacher_model_type": "qwen2"}
    if config.get("use_vllm"):
        change |= {name: None for name in config if name.startswith("vllm_")} | {"use_vllm": False}
    for name in ("RLKD_GSRM_BASE_URL", "RLKD_JUDGE_BASE_URL"):
        if name in config.get("ENV", {}):
            change[f"ENV.{name}"] = url
    return change


def small_dataset(dataset: str, folder: Path, rows: int) -> str:
    """Return a recipe's data set with a local file of hand-made rows in the hub's shape.

    The file of `rlkd/jsonl` and `rlkd/jsonl-sft` has what `rlkd prepare openr1-math-sft` writes.
    """
    name, _, _ = dataset.partition("#")
    name, _, file = name.partition(":")
    make = pair if name == "rlkd/gsrm-sft" else openr1
    if not name.startswith("rlkd/") or (not file and name in SHIPPED):
        return f"{name}#{rows}"
    contents = [make(number) for number in range(1, rows + 1)]
    if name in ("rlkd/jsonl", "rlkd/jsonl-sft"):
        contents = [FORMATS["openr1-math-sft"].make_row(row) for row in contents]
    copy = folder / "rows.jsonl"
    copy.write_text("".join(json.dumps(row) + "\n" for row in contents))
    return f"{name}:{copy}#{rows}"


def beyond(config: Config, change: Config) -> list[str]:
    """Return the keys of an overlay that it may not change."""
    found = [name for name in change if not any(fnmatch(name, rule) for rule in ALLOWED)]
    if (name := change.get("dataset")) and _data_set(name) != _data_set(config["dataset"]):
        found.append(f"dataset: {name}")
    return found


def _data_set(name: str) -> str:
    return name.partition("#")[0].partition(":")[0]


def merge(config: Config, change: Config, file: Path) -> Path:
    """Write a recipe with an overlay to a file, if the overlay changes only what it may."""
    assert beyond(config, change) == []
    result = json.loads(json.dumps(config))
    for name, value in change.items():
        block = result
        if name.startswith("ENV."):
            block, name = result["ENV"], name.removeprefix("ENV.")
        if value is None:
            block.pop(name)
        else:
            block[name] = value
    file.write_text(yaml.safe_dump(result, sort_keys=False), "utf-8")
    return file
