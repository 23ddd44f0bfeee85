"""The examples of docs/commands.md that need no data and no server print what the page shows."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.stand_ins.places import ROOT

PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")
TEXTS = {
    "teacher.txt": "Crates of pens: 3 * 4 = 12.\nWithout the broken pens: 12 - 2 = 10.\n#### 10",
    "student.txt": "Crates of pens: 3 * 4 = 12.\nWithout the broken pens: 12 - 2 = 11.\n#### 11",
}
"""The texts of the example of a pair."""
RUN = ("rlkd --version", "rlkd recipes", "rlkd judge-check", "rlkd score --problem", "rlkd guard")
"""How the commands begin that this test runs."""
SECONDS = re.compile(r"\d+(\.\d+)? s\b")


def examples() -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines of its output, as far as the page shows them."""
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = part.splitlines()
            if any(begin in command for begin in RUN):
                yield command, output


FOUND = list(examples())


def test_the_examples_are_found() -> None:
    for begin in RUN:
        assert any(begin in command for command, _ in FOUND), begin


@pytest.mark.parametrize(("command", "shown"), FOUND, ids=[command[:50] for command, _ in FOUND])
def test_an_example_prints_what_the_page_shows(
    command: str, shown: list[str], tmp_path: Path
) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    words = shlex.split(command)
    settings = dict(word.split("=", 1) for word in words[: words.index("rlkd")])
    program = [sys.executable, "-m", "rlkd_plugin.rlkd_cli", *words[words.index("rlkd") + 1 :]]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RLKD_")}
    environment = {
        **clean,
        "RLKD_ENGINE": "rules",  # the page sets it once for a block
        **settings,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "128",
    }
    done = subprocess.run(
        program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    printed = joined(done.stdout.splitlines())
    for part in " ".join(shown).split("..."):
        assert joined([part]) in printed


def joined(lines: list[str]) -> str:
    """Return lines as one text, as the page wraps some, without the seconds that it took."""
    return SECONDS.sub("N s", " ".join(" ".join(lines).split()))
