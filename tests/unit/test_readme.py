"""The README says what the code does, and every file that a document names is there."""

import re
from pathlib import Path

import pytest

from rlkd_plugin.llm_io.settings import settings_table
from tools.stand_ins.places import ROOT

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
DOCUMENTS.remove(ROOT / "docs" / "ascend.md")  # it names files of ms-swift and vllm-ascend
FILE = re.compile(r"([\w.-]+/)*[\w.-]+(\.(py|yaml|env|md|txt|cff)|/)")
ELSEWHERE = re.compile(
    r"^(data|models|output|rlkd|files|media|swanlog)/|NAME|mine\.env|rlkd_ray\.yaml"
)
"""What a user, a recipe's author or a tracker makes, and the prefix of our data sets."""


def test_the_settings_table_is_the_codes() -> None:
    """Every setting stands in the README with its default and its sentence."""
    assert settings_table() in README


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


def test_the_tree_in_the_readme_is_there() -> None:
    """The names with which its lines begin; a step to the right is a folder down."""
    tree = README.partition("## The tree\n\n")[2].partition("\n\n")[0]
    folders: list[str] = []
    for indent, names in re.findall(r"^ {4}((?:  ){0,4})(\S+(?:  \S+)*)", tree, re.MULTILINE):
        folders = folders[: len(indent) // 2]
        for name in re.findall(r"\S+", names):
            if FILE.fullmatch(name):
                assert ROOT.joinpath(*folders, name).exists(), name
        folders.append(names)
