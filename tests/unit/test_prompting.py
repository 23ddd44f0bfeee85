"""A checkpoint is served with the template that it was trained with, by either server."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.model_server import model_server
from rlkd_plugin.llm_io.prompting import Choice, Prompting, choose_prompting
from rlkd_plugin.llm_io.server_commands import deploy_command, vllm_command
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_cli.template_option import select_prompting
from tools.stand_ins.places import MODEL

OURS: dict[str, Any] = {
    "template": "rlkd_r1",
    "external_plugins": ["rlkd_plugin/register.py"],
    "system": None,
    "response_prefix": None,
    "use_chat_template": True,
    "template_backend": "swift",
}
TRAINED = Prompting("rlkd_r1", is_trained=True)


def trained(folder: Path, **arguments: Any) -> str:
    """Make a folder that a training left, as far as its arguments go."""
    folder.mkdir(parents=True)
    (folder / "args.json").write_text(json.dumps(OURS | arguments), "utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [("auto", TRAINED), ("rlkd_r1", TRAINED), ("model", Prompting(is_trained=True))],
)
def test_a_checkpoint_of_ours_is_asked_as_it_was_trained(
    choice: Choice, wanted: Prompting, tmp_path: Path
) -> None:
    model = trained(tmp_path / "checkpoint-1")
    assert choose_prompting(choice, model, "") == wanted
    assert choose_prompting(choice, "org/base", model) == wanted  # a LoRA of ours


@pytest.mark.parametrize("choice", ["auto", "model"])
def test_another_model_is_asked_its_own_way(choice: Choice, tmp_path: Path) -> None:
    model = trained(tmp_path / "checkpoint-1", template="qwen2_5")
    assert choose_prompting(choice, model, "") == Prompting()
    assert choose_prompting(choice, trained(tmp_path / "ours"), model) == Prompting()
    assert choose_prompting(choice, str(tmp_path), "") == Prompting()
    (tmp_path / "args.json").write_text("[1]")  # another tool's
    assert choose_prompting(choice, str(tmp_path), "") == Prompting()
    assert choose_prompting(choice, "", "") == Prompting()


def test_a_base_model_can_be_asked_as_the_recipes_train(tmp_path: Path) -> None:
    """RLKD-Zero's model at step 0 of figure 4."""
    assert choose_prompting("rlkd_r1", str(tmp_path), "") == Prompting("rlkd_r1")


def test_a_system_prompt_of_the_training_is_kept(tmp_path: Path) -> None:
    model = trained(tmp_path / "checkpoint-1", system="Be brief.")
    assert choose_prompting("auto", model, "").system == "Be brief."
    assert choose_prompting("model", model, "").system == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"response_prefix": "<think>\n"}, r'--response_prefix "<think>'),
        ({"system": ""}, '--system ""'),
        ({"use_chat_template": False}, "--use_chat_template false"),
        ({"template_backend": "jinja"}, '--template_backend "jinja"'),
    ],
)
def test_a_training_that_cannot_be_repeated_is_told(
    arguments: dict[str, Any], says: str, tmp_path: Path
) -> None:
    model = trained(tmp_path / "checkpoint-1", **arguments)
    with pytest.raises(RlkdError, match=f"was trained with {says}.*--template model"):
        choose_prompting("auto", model, "")
    assert choose_prompting("model", model, "").template == ""


def test_arguments_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"template": "rlkd')
    with pytest.raises(RlkdError, match=r"args\.json cannot be read"):
        choose_prompting("auto", str(tmp_path), "")


def test_all_models_of_a_run_are_asked_as_its_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that it began with too: figure 4 draws one line through all of them."""
    run = tmp_path / "run"
    for step in (1, 2):
        checkpoint = run / f"checkpoint-{step}"
        trained(checkpoint, template="rlkd_r1" if step == 2 else "chatml")
        (checkpoint / "trainer_state.json").write_text("{}")
        (checkpoint / "model.safetensors").write_bytes(b"0")
    assert select_prompting("auto", "", "", run) == TRAINED
    assert "serving with the template rlkd_r1, as it was trained" in capsys.readouterr().out
    assert select_prompting("model", "", "", run).template == ""
    assert capsys.readouterr().out == ""


def test_a_server_that_runs_has_what_the_user_says(tmp_path: Path) -> None:
    """An adapter named beside it is for labels: nothing is known of the server's template."""
    adapter = trained(tmp_path / "checkpoint-1")
    assert select_prompting("auto", "", adapter) == Prompting()
    assert select_prompting("rlkd_r1", "", adapter).template == "rlkd_r1"


def test_each_server_gets_its_options(tmp_path: Path) -> None:
    """ms-swift would import the plugin from the path that was typed; `dummy` is the model's own."""
    plain = deploy_command("m", "", 1, "n", Prompting())
    assert not {"--template", "--external_plugins"} & set(plain)
    for prompting, name in ((TRAINED, "rlkd_r1"), (Prompting(is_trained=True), "dummy")):
        words = deploy_command("m", "", 1, "n", prompting)
        assert words[words.index("--template") + 1] == name
        plugin = Path(words[words.index("--external_plugins") + 1])
        assert plugin.is_absolute() and plugin.name == "register.py" and plugin.is_file()
    own = vllm_command("m", "", 1, "n")
    assert own[own.index("--generation-config") + 1] == "vllm" and "--chat-template" not in own
    words = vllm_command("m", "", 1, "n", tmp_path)
    assert words[words.index("--generation-config") + 1] == str(tmp_path)
    assert words[words.index("--chat-template") + 1] == str(tmp_path / "chat_template.jinja")


@pytest.mark.parametrize("option", ["--chat-template x", "--generation_config=x", "--template y"])
def test_server_options_do_not_overrule_the_template(option: str, tmp_path: Path) -> None:
    with (
        pytest.raises(RlkdError, match=f"--server-options has {option[:10]}.*--template model"),
        model_server("m", "", option, tmp_path / "log", TRAINED),
    ):
        pass
    assert not any(tmp_path.iterdir())


@pytest.fixture
def ended_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a `vllm` first on the path that ends at once: the error shows its command line."""
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 3\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of ours with the small model's tokenizer, and without weights."""
    folder = tmp_path / "checkpoint-1"
    trained(folder)
    for file in MODEL.glob("*.json"):
        (folder / file.name).symlink_to(file)
    return folder


@pytest.mark.usefixtures("ended_vllm")
@pytest.mark.parametrize("command", ["eval", "diversity"])
def test_both_commands_serve_with_it(command: str, checkpoint: Path, tmp_path: Path) -> None:
    """And keep in their plan what was asked: with another prompt it is another measurement."""
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    words = {
        "eval": [str(out), "--sets", "gsm8k", "--data", f"gsm8k={rows}"],
        "diversity": [str(out), str(rows), "--count", "1", "--samples", "2"],
    }[command]
    env = {"RLKD_ENGINE": "rules", "RLKD_EMBED_BASE_URL": "http://h/v1", "RLKD_EMBED_MODEL": "e"}

    def run(*more: str) -> str:
        given = [command, *words, "--model", str(checkpoint), *more]
        done = CliRunner().invoke(app, given, env=env)
        assert done.exit_code == 1, (done.output, done.exception)
        return done.output

    said = run()
    assert "serving with the template rlkd_r1, as it was trained" in said
    assert f"--chat-template {out}/serving/chat_template.jinja" in said
    assert f"--generation-config {out}/serving" in said
    assert "<|im_start|>" in (out / "serving" / "chat_template.jinja").read_text("ascii")
    assert json.loads((out / "serving" / "generation_config.json").read_text()) == {
        "eos_token_id": [2]
    }
    assert json.loads((out / "plan.json").read_text())["template"] == "rlkd_r1"
    assert "template: 'rlkd_r1' there, None now" in run("--template", "model")


def test_the_files_for_ones_own_server(checkpoint: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["chat-template", str(checkpoint), str(tmp_path / "new")])
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"--chat-template {tmp_path}/new/chat_template.jinja" in done.output.replace("\n", "")
    assert {file.name for file in (tmp_path / "new").iterdir()} == {
        "chat_template.jinja",
        "generation_config.json",
    }


def test_a_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["chat-template", str(tmp_path), str(tmp_path / "new")])
    assert done.exit_code == 1
    assert f"the tokenizer of {tmp_path}, which cannot be read" in done.output
