"""README and docs say what the code does, and every file that a document names is there."""

import re
from pathlib import Path

import pytest

from rlkd_plugin.llm_io.settings import settings_table
from tools.stand_ins.places import ROOT

README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
DOCUMENTS.remove(ROOT / "docs" / "ascend.md")  # it names files of ms-swift and vllm-ascend
FILE = re.compile(r"([\w.-]+/)*[\w.-]+(\.(py|yaml|env|md|txt|cff)|/)")
ELSEWHERE = re.compile(
    r"^(data|models|output|rlkd|build|files|media|swanlog)/|NAME|mine\.env|rlkd_ray\.yaml"
)
"""What a user, a recipe's author, a build or a tracker makes, and the prefix of our data sets."""


def test_the_settings_table_is_the_codes() -> None:
    """Every setting stands in its page with its default and its sentence, and nothing else does."""
    assert SETTINGS.endswith(f"\n\n{settings_table()}\n")


def test_the_readme_can_be_read_in_minutes() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert len(README.split()) <= 1200
    assert [line for line in lines if len(line) > 110] == []


def test_the_readme_says_what_never_ran_before_it_says_how_to_install() -> None:
    before = README.partition("## Install")[0]
    assert "Never ran: any GPU, any Ascend NPU." in before


def test_the_tables_of_the_readme_have_ten_rows() -> None:
    """The features, and the code behind the paper."""
    for title in ("Features", "From the paper to the code"):
        table = README.partition(f"## {title}\n\n")[2].partition("\n\n")[0]
        assert len(table.splitlines()) == 2 + 10


def is_there(name: str, document: Path) -> bool:
    """Say whether a file or folder is there.

    A path begins at the top, in the package or beside the document; a bare name is anywhere.
    """
    if any((place / name).exists() for place in (ROOT, ROOT / "rlkd_plugin", document.parent)):
        return True
    rooms = (ROOT / room for room in ("rlkd_plugin", "examples", "swift_configs"))
    return "/" not in name and any(any(room.rglob(name)) for room in rooms)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    words = [word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split()]
    words += re.findall(r"\]\(([^)#:]+)\)", text)
    named = {word for word in words if FILE.fullmatch(word) and not ELSEWHERE.search(word)}
    assert [name for name in sorted(named) if not is_there(name, document)] == []


def test_the_tree_is_there() -> None:
    """The names with which its lines begin; a step to the right is a folder down."""
    tree = CONTRIBUTING.partition("## The tree\n\n```text\n")[2].partition("```")[0]
    assert tree
    folders: list[str] = []
    for indent, names in re.findall(r"^((?:  ){0,4})(\S+(?:  \S+)*)", tree, re.MULTILINE):
        folders = folders[: len(indent) // 2]
        for name in re.findall(r"\S+", names):
            if FILE.fullmatch(name):
                assert ROOT.joinpath(*folders, name).exists(), name
        folders.append(names)
