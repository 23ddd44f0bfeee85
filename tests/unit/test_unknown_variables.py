"""Each command warns once of a misspelt variable, as it would change nothing without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.rlkd_cli import app
from tests.conftest import SetOptions

WARNING = "RLKD_REQUESTS_PER_MINUT is set, but no setting has this name; check it"
COMMANDS = sorted(
    command.name or str(getattr(command.callback, "__name__", ""))
    for command in app.registered_commands
)


def words(name: str, folder: Path) -> list[str]:
    """Return a command line that fails at once, or does little."""
    name = name.replace("_", "-")
    given = {
        "construct": ["nothing.jsonl", "out.jsonl"],
        "structure": ["nothing.jsonl", "out.jsonl"],
        "subset": ["nothing.jsonl", "nothing.jsonl", "out.jsonl"],
        "merge": ["out.jsonl", "nothing.jsonl", "nothing too.jsonl"],
        "prepare": ["jsonl", "nothing.jsonl", "out.jsonl"],
        "eval": ["out"],
        "diversity": ["out", "nothing.jsonl"],
        **{name: ["nowhere"] for name in ("eval-table", "diversity-table", "report", "curves")},
        "judge-check": ["nothing.jsonl"],
        "guard": ["true"],
    }
    return [
        name,
        *(
            word if word in ("jsonl", "true") else str(folder / word)
            for word in given.get(name, [])
        ),
    ]


def test_the_commands_are_these() -> None:
    assert {name.replace("_", "-") for name in COMMANDS} >= {
        *("construct", "structure", "subset", "prepare", "eval", "eval-table", "diversity"),
        *("diversity-table", "report", "curves", "check", "judge-check", "path", "guard"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_warns_once(name: str, options: SetOptions, tmp_path: Path) -> None:
    """`check` as a finding; `path` stands inside other command lines, `guard` runs another."""
    options(requests_per_minut=5, engine="rules")
    done = CliRunner().invoke(app, words(name, tmp_path))
    assert done.output.count(WARNING) == (0 if name in ("path", "guard") else 1)
    assert WARNING not in done.stdout or name == "check"


def test_several_are_named_each(options: SetOptions) -> None:
    options(requests_per_minut=5, judge_modle="m", judge_model="m", gsrm_api_key="k")
    done = CliRunner().invoke(app, ["report", "nowhere"])
    assert [line for line in done.stderr.splitlines() if "no setting" in line] == [
        "rlkd: RLKD_JUDGE_MODLE is set, but no setting has this name; check it",
        f"rlkd: {WARNING}",
    ]


@pytest.mark.parametrize("form", [["--key-env", "RLKD_MY_KEY"], ["--key-env=RLKD_MY_KEY"]])
def test_a_variable_that_the_command_line_names_is_meant(
    form: list[str], options: SetOptions, tmp_path: Path
) -> None:
    options(my_key="k", my_other="k")
    done = CliRunner().invoke(app, ["eval", str(tmp_path / "out"), *form])
    assert "RLKD_MY_KEY is set" not in done.output and "RLKD_MY_OTHER is set" in done.output


def test_path_imports_no_settings() -> None:
    """It costs milliseconds; nor does a command where no variable is set."""
    code = (
        "import sys\n"
        "from rlkd_plugin.rlkd_cli import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "finally:\n    print('rlkd_plugin.llm_io.settings' in sys.modules, file=sys.stderr)"
    )
    for command, variable in (("path", "RLKD_ODD"), ("recipes", "OTHER")):
        done = subprocess.run(
            [sys.executable, "-c", code, command],
            env={**os.environ, variable: "1"},
            capture_output=True,
            text=True,
        )
        assert done.stderr == "False\n", done.stderr
