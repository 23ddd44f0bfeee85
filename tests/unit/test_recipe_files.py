"""`rlkd recipes`: the list, and copies whose every command finds what it names."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from honcho.environ import parse, parse_procfile
from typer.testing import CliRunner

from rlkd_plugin.rlkd_cli import app, recipe_files
from rlkd_plugin.rlkd_cli.recipe_files import files_of, find_recipe, known_recipes
from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import CONFIGS, read

ABSOLUTE = str(ROOT / "rlkd_plugin" / "register.py")
PROCFILES = {f"Procfile.cuda{devices}" for devices in (5, 6, 7, 8)}


def rlkd(*words: str, code: int = 0) -> str:
    """Run `rlkd recipes` and return what it says."""
    done = CliRunner().invoke(app, ["recipes", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_the_list_has_every_yaml_with_the_first_line_of_its_head() -> None:
    lines = rlkd().splitlines()[: len(CONFIGS)]
    for file, line in zip(CONFIGS, lines, strict=True):
        name, said = line.split(maxsplit=1)
        assert name == file.stem
        assert file.read_text("utf-8").startswith(f"# {said}\n")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("rlkd_cuda", {"rlkd_cuda.yaml", "rlkd.env", *PROCFILES}),
        ("shift_rlkd_npu", {"shift_rlkd_npu.yaml", "shift_rlkd.env"}),
        ("rlkd_kl_cuda", {"rlkd_kl_cuda.yaml", "rlkd_kl.env", *PROCFILES}),
        ("grpo_npu", {"grpo_npu.yaml", "grpo.env", "Procfile.npu_grpo"}),
        ("gsrm_sft", {"gsrm_sft.yaml"}),
        ("ppo_npu", {"ppo_npu.yaml", "ppo_reward_npu.yaml", "Procfile.npu_grpo", "grpo_npu.yaml"}),
    ],
)
def test_a_recipe_has_the_files_that_its_commands_need(name: str, files: set[str]) -> None:
    assert files <= {file.name for file in files_of(find_recipe(name))}


def test_no_file_is_left_without_a_recipe() -> None:
    """Each Procfile and `.env` file comes with some recipe."""
    everything = {file for recipe in known_recipes().values() for file in files_of(recipe)}
    assert everything == set((ROOT / "swift_configs").iterdir())


def test_the_plain_command_of_the_gsrm_has_the_references_batch() -> None:
    """Two devices x 1 row x accumulation 2 there; as many rows a step as its head's command has."""
    file = ROOT / "swift_configs" / "gsrm_sft.yaml"
    ranks = re.search(r"^#   NPROC_PER_NODE=(\d) ", file.read_text("utf-8"), re.MULTILINE)
    config = read(file)
    assert ranks
    rows = config["per_device_train_batch_size"] * config["gradient_accumulation_steps"]
    assert int(ranks[1]) * rows == 2 * 1 * 2


def words_of(folder: Path, line: str, values: dict[str, str]) -> list[str]:
    """Run a command of a Procfile where its program only says its words; return these."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    scripts = {
        "swift": "printf '%s\\n' swift \"$@\"",
        "vllm": "printf '%s\\n' vllm \"$@\"",
        "curl": "exit 0",
        "rlkd": 'shift; case $1 in --*) shift;; esac; exec "$@"',  # `rlkd guard --server`
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, **values, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def wrong_paths(folder: Path, words: list[str]) -> list[str]:
    """Return the YAML and plugin files of a command that are not there, seen from a folder."""
    named = [word for word in words if word.endswith((".yaml", ".py"))]
    return [word for word in named if not (folder / word).is_file()]


@pytest.mark.parametrize("name", [file.stem for file in CONFIGS])
def test_a_copy_runs_from_its_folder(name: str, tmp_path: Path) -> None:
    """Also where the folder's name has a space: what a YAML, a Procfile and the last lines name is
    there, and nothing but paths has changed."""
    folder = tmp_path / "a b" / name
    said = rlkd(name, str(folder)).splitlines()
    assert said[2] == f"    cd {shlex.quote(str(folder))}"
    for line in said[3:]:
        assert wrong_paths(folder, line.split()) == []
        assert "swift_configs" not in line
    for file in folder.glob("*.yaml"):
        original = read(ROOT / "swift_configs" / file.name)
        assert original.pop("external_plugins") == "rlkd_plugin/register.py"
        copied = read(file)
        assert copied.pop("external_plugins") == ABSOLUTE
        if original["model"].startswith("models/"):
            hub = "HuggingFaceTB/SmolLM2-135M-Instruct"
            assert (original.pop("model"), copied.pop("model")) == (f"models/{Path(hub).name}", hub)
            original.get("ENV", {}).pop("RLKD_SMALL_MODEL", "")
            copied.get("ENV", {}).pop("RLKD_SMALL_MODEL", "")
        if student := original.pop("adapters", ""):
            assert copied.pop("adapters") == str(ROOT / student)
        assert copied == original


@pytest.mark.parametrize(
    "name",
    ["grpo_cuda", "ppo_npu", "rlkd_cuda", "rlkd_kl_npu", "rlkd_zero_npu", "shift_rlkd_cuda"],
)
def test_the_commands_of_a_copied_procfile_find_their_files(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    rlkd(name, str(folder))
    (env_file,) = folder.glob("*.env")
    values = {**parse(env_file.read_text("utf-8")), "GSRM": "gsrm_folder"}
    procfiles = list(folder.glob("Procfile.*"))
    assert len(procfiles) == (1 if env_file.stem == "grpo" else 4)
    for procfile in procfiles:
        lines = parse_procfile(procfile.read_text("utf-8")).processes
        started = {role: words_of(folder, lines[role], values) for role in lines}
        for words in started.values():
            assert words[0] in ("swift", "vllm")
            assert wrong_paths(folder, words) == []
        assert ABSOLUTE in started["rollout"]
        device = name.rpartition("_")[2]
        assert f"{env_file.stem}_{device}.yaml" in started["trainer"]


@pytest.mark.parametrize("devices", [5, 6, 7, 8])
def test_the_gsrm_may_bring_options_of_its_server(devices: int, tmp_path: Path) -> None:
    """`GSRM="FOLDER OPTIONS"`, as docs/recipes.md has it for drafts, with and without a shell."""
    values = parse((ROOT / "swift_configs" / "rlkd.env").read_text("utf-8"))
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    given = re.search(r'GSRM="(YOUR_GSRM .*?)" honcho', text)
    assert given
    file = ROOT / "swift_configs" / f"Procfile.cuda{devices}"
    line = parse_procfile(file.read_text("utf-8")).processes["gsrm"]
    words = words_of(tmp_path, line, {**values, "GSRM": given[1]})
    folder, *options = given[1].split()
    assert words[:3] == ["vllm", "serve", folder]
    assert words[3 : 3 + len(options)] == options


def test_a_plugin_path_with_a_space_and_a_quote_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = '/a b\'s #: "c"/register.py'
    monkeypatch.setattr(recipe_files, "PLUGIN_FILE", plugin)
    rlkd("grpo_cuda", str(tmp_path))
    assert read(tmp_path / "grpo_cuda.yaml")["external_plugins"] == plugin
    values = parse((tmp_path / "grpo.env").read_text("utf-8"))
    line = parse_procfile((tmp_path / "Procfile.cuda_grpo").read_text("utf-8")).processes["rollout"]
    words = words_of(tmp_path, line, values)
    assert words[words.index("--external_plugins") + 1] == plugin


def test_copies_share_a_folder_and_can_be_made_again(tmp_path: Path) -> None:
    for name in ("rlkd_cuda", "rlkd_zero_cuda", "rlkd_cuda"):
        rlkd(name, str(tmp_path))
    files = {file.name for file in tmp_path.iterdir()}
    both = {"rlkd_cuda.yaml", "rlkd.env", "rlkd_zero_cuda.yaml", "rlkd_zero.env"}
    assert files == both | PROCFILES


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file with other content is named, it stays, and no other file is written."""
    changed = tmp_path / "rlkd_cuda.yaml"
    changed.write_text("learning_rate: 2.0e-6\n")
    said = rlkd("rlkd_cuda", str(tmp_path), code=1)
    assert f"{changed} exists with other content" in said
    assert changed.read_text() == "learning_rate: 2.0e-6\n"
    assert list(tmp_path.iterdir()) == [changed]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    said = rlkd("rlkd_cuad", str(tmp_path / "new"), code=1)
    assert "there is no recipe rlkd_cuad; similar names: rlkd_cuda" in said
    assert "`rlkd recipes` lists all" in said
    assert "name the folder to copy it to: rlkd recipes rlkd_cuda DIR" in rlkd("rlkd_cuda", code=1)
    file = tmp_path / "file"
    file.touch()
    assert f"{file} is not a folder" in rlkd("rlkd_cuda", str(file), code=1)
    assert not (tmp_path / "new").exists()
