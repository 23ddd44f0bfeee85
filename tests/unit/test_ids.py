"""Every id in our YAMLs and in the docs' tables is one that ms-swift knows, or that we register."""

import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.stand_ins.places import ROOT

MODEL_KEYS = ("model", "reward_model", "ref_model", "teacher_model")
DOCS = (ROOT / "docs" / "downloads.md").read_text("utf-8")
CONFIGS = sorted((ROOT / "swift_configs").glob("*.yaml"))


def table(heading: str) -> list[list[str]]:
    """The ids in each row of the table under a heading of the docs."""
    lines = DOCS.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows
    return [re.findall(r"`([\w.-]+/[\w.-]+)`", row) for row in rows]


@pytest.fixture(scope="module")
def known_models() -> dict[str, str]:
    """The model ids of ms-swift with the model type of each, on both hubs."""
    from swift.model import MODEL_MAPPING

    return {
        name: model_type
        for model_type, meta in MODEL_MAPPING.items()
        for group in meta.model_groups
        for model in group.models
        for name in (model.ms_model_id, model.hf_model_id)
        if name
    }


@pytest.fixture(scope="module")
def known_data() -> set[str]:
    """The names that we register, and the hub ids behind them."""
    from swift.dataset.dataset_meta import DATASET_MAPPING

    from rlkd_plugin.rlkd_data.rows.formats import FORMATS
    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    ours = {name for name in DATASET_MAPPING if str(name).startswith("rlkd/")}
    return ours | {hub_id for form in FORMATS.values() for hub_id in form.hub_ids if hub_id}


def test_the_models_of_the_docs_have_a_model_type(known_models: dict[str, str]) -> None:
    ids = list(chain(*table("Models")))
    assert len(ids) >= 5
    assert [name for name in ids if name not in known_models] == []


def test_the_data_of_the_docs_is_registered(known_data: set[str]) -> None:
    ids = list(chain(*table("Data")))
    assert [name for name in ids if name not in known_data] == []
    assert {name for name in known_data if name.startswith("rlkd/")} <= set(ids)


def test_each_model_and_data_set_of_the_tables_has_its_command() -> None:
    for name in {row[0] for row in table("Models")}:
        assert f"modelscope download --model {name} --local_dir" in DOCS
    for name in {row[1] for row in table("Data") if len(row) > 1}:
        assert f"modelscope download --dataset {name} --local_dir" in DOCS


def names_in(config: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    values = [config[key] for key in keys if key in config]
    return [name for value in values for name in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_the_ids_of_a_config_are_known(
    file: Path, known_models: dict[str, str], known_data: set[str]
) -> None:
    """A model is an id that ms-swift maps to a type, or a folder whose type the file gives."""
    from swift.model import MODEL_MAPPING
    from swift.template import TEMPLATE_MAPPING

    config = yaml.safe_load(file.read_text("utf-8"))
    for key in MODEL_KEYS:
        for name in names_in(config, (key,)):
            assert name in known_models or config.get(f"{key}_type") in MODEL_MAPPING
    for name in names_in(config, ("dataset", "val_dataset")):
        assert re.split("[:#]", name)[0] in known_data
    assert config.get("template", "chatml") in TEMPLATE_MAPPING


@pytest.mark.parametrize("command", re.findall(r"^(modelscope download .*)$", DOCS, re.MULTILINE))
def test_a_download_command_is_one_that_modelscope_reads(command: str) -> None:
    """Parsed by its own command line."""
    from modelscope_hub.cli.main import _build_parser

    words = shlex.split(command)
    parsed = vars(_build_parser().parse_args(words[1:]))
    assert parsed["command"] == "download"
    assert {words[3], words[5]} <= set(map(str, parsed.values()))  # the id and the folder
