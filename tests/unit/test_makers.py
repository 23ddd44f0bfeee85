"""One maker a file: what another model, prompt or limit made is not mixed in without a word."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rlkd_plugin.gsrm import prompts
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings, load_settings
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data.jobs.record import differences, read_record, record_file
from tests.support.loopback import GSRM, JUDGE, Loopback, said
from tests.support.row_lines import lines, write
from tools.stand_ins.hub_shapes import STRUCTURE


def row(number: int) -> dict[str, Any]:
    """A row with a path."""
    path = f"She has {number} + 3 pens, which is all she needs."
    return {"problem": f"P{number}", "domain": "math", "reasoning_path": path} | {
        "teacher_reasoning": path,
        "answer": str(number + 3),
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", row(1), row(2))


def run(*arguments: object, **variables: str) -> Result:
    """Run a command with other variables."""
    return CliRunner().invoke(app, [*map(str, arguments)], env=variables)


GSRM_CHANGES = {
    "gsrm": {"RLKD_GSRM_MODEL": JUDGE},  # the other model that the server knows
    "prompt": {"RLKD_GSRM_PROMPT": "construct"},
    "regex": {"RLKD_GSRM_REGEX": "true"},
    "max_tokens": {"RLKD_GSRM_MAX_TOKENS": "4000"},
    "max_chars": {"RLKD_GSRM_MAX_CHARS": "50000"},
    "body": {"RLKD_GSRM_BODY": '{"seed": 1}'},
    "revision": {"RLKD_GSRM_REVISION": "2"},
    "engine": {"RLKD_ENGINE": "rules"},
}


@pytest.mark.parametrize(("name", "change"), GSRM_CHANGES.items(), ids=GSRM_CHANGES)
def test_another_gsrm_or_setting_of_it_is_refused(
    name: str, change: dict[str, str], servers: Loopback, source: Path, tmp_path: Path
) -> None:
    servers.always("gsrm", said(STRUCTURE))
    servers.always("judge", said(STRUCTURE))
    out = tmp_path / "out.jsonl"
    first = run("structure", source, out)
    assert first.exit_code == 0, first.output
    before, asked = out.read_bytes(), len(servers.asked)
    write(source, row(1), row(2), row(3))
    other = run("structure", source, out, **change)
    assert other.exit_code == 1 and "--mix" in other.stderr
    assert f"{name}: " in other.stderr and " there, " in other.stderr
    assert out.read_bytes() == before
    texts = [one.content("reasoning path") for one in servers.asked[asked:]]
    assert row(3)["reasoning_path"] not in texts
    mixed = run("structure", source, out, "--mix", **change)
    assert mixed.exit_code == 0, mixed.output
    makers = {line["problem"]: line["maker"] for line in lines(out)}
    assert makers["P1"] == makers["P2"] != makers["P3"]
    record = read_record(record_file(out))
    assert record is not None and {*makers.values()} == {*record.makers}


def test_a_retrained_gsrm_under_the_same_name_is_refused(
    servers: Loopback, source: Path, tmp_path: Path
) -> None:
    servers.always("gsrm", said(STRUCTURE))
    servers.models = {"data": [{"id": GSRM, "root": "out/gsrm-1"}]}
    assert run("structure", source, tmp_path / "out.jsonl").exit_code == 0
    servers.models = {"data": [{"id": GSRM, "root": "out/gsrm-2"}]}
    done = run("structure", source, tmp_path / "out.jsonl")
    assert done.exit_code == 1
    assert "served_from: 'out/gsrm-1' there, 'out/gsrm-2' now" in done.stderr


def test_a_prompt_of_another_version_alone_is_refused(
    servers: Loopback, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.always("gsrm", said(STRUCTURE))
    assert run("structure", source, tmp_path / "out.jsonl").exit_code == 0
    text = prompts._text

    def later(name: str) -> str:
        return text(name) + ("\nBe brief." if name == "content" else "")

    monkeypatch.setattr(prompts, "_text", later)
    done = run("structure", source, tmp_path / "out.jsonl")
    assert done.exit_code == 1 and "(prompt: 'gsrm " in done.stderr


@pytest.mark.parametrize("name", ["gsrm_model", *(f"gsrm_{n}" for n in ("prompt", "regex"))])
def test_the_cache_keeps_apart_what_a_file_keeps_apart(name: str, servers: Loopback) -> None:
    """So do all other settings of a GSRM, whatever they are."""
    other = {"gsrm_model": "another", "gsrm_prompt": "construct", "gsrm_regex": True}
    _check_both(load_settings(), load_settings().model_copy(update={name: other[name]}))


def test_the_cache_and_a_file_know_each_setting_of_the_gsrm(servers: Loopback) -> None:
    settings = load_settings()
    change = {
        "gsrm_max_tokens": 1,
        "gsrm_max_chars": 1,
        "gsrm_body": {"seed": 1},
        "gsrm_revision": "2",
    }
    for name, value in change.items():
        _check_both(settings, settings.model_copy(update={name: value}))
    named = {name for name in Settings.model_fields if name.startswith("gsrm_")}
    transport = {"gsrm_base_url", "gsrm_api_key_env"}
    assert named == {*change, *transport, "gsrm_model", "gsrm_prompt", "gsrm_regex"}


def _check_both(one: Settings, other: Settings) -> None:
    """Check that cache and files tell two settings apart."""
    before, now = ServerEngine(one), ServerEngine(other)
    assert before.identity != now.identity
    assert differences(before.facts, now.facts)


CONSTRUCT_CHANGES = {
    "generator": {"RLKD_GENERATOR_MODEL": "another"},
    "verifier": {"RLKD_VERIFIER_MODEL": "another"},
    "generator_max_tokens": {"RLKD_GENERATOR_MAX_TOKENS": "4000"},
    "verifier_max_tokens": {"RLKD_VERIFIER_MAX_TOKENS": "4000"},
    "generator_body": {"RLKD_GENERATOR_BODY": '{"seed": 1}'},
    "verifier_body": {"RLKD_VERIFIER_BODY": '{"seed": 1}'},
}


@pytest.mark.parametrize(("name", "change"), CONSTRUCT_CHANGES.items(), ids=CONSTRUCT_CHANGES)
def test_another_generator_or_verifier_is_refused(
    name: str,
    change: dict[str, str],
    servers: Loopback,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scripted server knows two models: here they are generator and verifier."""
    servers.always("gsrm", said(STRUCTURE))
    servers.always("judge", said("PASS"))
    settings = load_settings()
    for role, model in (("GENERATOR", settings.gsrm_model), ("VERIFIER", settings.judge_model)):
        monkeypatch.setenv(f"RLKD_{role}_BASE_URL", servers.url)
        monkeypatch.setenv(f"RLKD_{role}_MODEL", model)
    out = tmp_path / "out.jsonl"
    first = run("construct", source, out)
    assert first.exit_code == 0, first.output
    asked = len(servers.asked)
    other = run("construct", source, out, **change)
    assert other.exit_code == 1 and f"{name}: " in other.stderr and "--mix" in other.stderr
    assert len(servers.asked) == asked
    again = run("construct", source, out)
    assert again.exit_code == 0 and "2 done before" in again.stdout


def test_no_record_holds_a_key(servers: Loopback, source: Path, tmp_path: Path) -> None:
    servers.always("gsrm", said(STRUCTURE))
    body = '{"user_token": "tok-of-mine"}'
    key = {"RLKD_GSRM_API_KEY": "sk-of-mine", "RLKD_GSRM_BODY": body}
    done = run("structure", source, tmp_path / "out.jsonl", **key)
    assert done.exit_code == 0, done.output
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_text("utf-8")
            assert "sk-of-mine" not in content and "tok-of-mine" not in content, file
    assert "RLKD_GSRM_API_KEY" not in os.environ
