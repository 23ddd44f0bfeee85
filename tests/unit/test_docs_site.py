"""The pages of docs/ make a site without a warning, and read well on GitHub too.

`make docs` builds it as the first test does: any broken link or anchor is an error.
"""

import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.stand_ins.places import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted(DOCS.glob("zh/*.md"))]
PICTURE = re.compile(r'<img src="([^"]+)"')


def build(docs: Path, out: Path, builder: str) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    options = ["-q", "-W", "--keep-going", "-b", builder, "-d", str(out / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(docs), str(out / "site")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def tokens(document: Path) -> list[Token]:
    """The blocks of a document, as GitHub parses them."""
    return MarkdownIt("commonmark").enable("table").parse(document.read_text("utf-8"))


@cache
def anchors(document: Path) -> set[str]:
    """The anchors of the headings, by GitHub's rule: small letters, hyphens for spaces."""
    blocks = tokens(document)
    titles = [
        re.sub(r"[`*]|\[|\]\([^)]*\)", "", inline.content)
        for opening, inline in pairwise(blocks)
        if opening.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets(document: Path) -> list[str]:
    """The links and pictures of a document that lead to a file of ours."""
    children = [child for block in tokens(document) for child in block.children or []]
    found = [str(child.attrs.get("href") or child.attrs.get("src") or "") for child in children]
    found += PICTURE.findall(document.read_text("utf-8"))
    return [unquote(target) for target in found if target and "://" not in target]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path, "html")
    assert (done.returncode, done.stderr) == (0, "")
    made = {file.stem for file in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in PAGES} - {"README"} <= made
    assert "measurements.html" in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_links_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    """A page, a heading and a picture that are not there, and a page without a place."""
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    (docs / "index.rst").write_text("Pages\n=====\n\n.. toctree::\n\n   one\n")
    (docs / "one.md").write_text("# One\n\n[a](no.md) [b](two.md#no) ![c](no.png)\n")
    (docs / "two.md").write_text("# Two\n")
    done = build(docs, tmp_path / "out", "html")
    assert done.returncode != 0
    said = done.stderr
    assert "one.md" in said and "two.md" in said
    assert "'no.md'" in said and "'no'" in said and "no.png" in said and "toctree" in said


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT))
)
def test_links_lead_somewhere_on_github(document: Path) -> None:
    wrong = []
    for target in targets(document):
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_for_whom_it_is(page: Path) -> None:
    """A title, and a paragraph that opens with `For`."""
    title, _, rest = page.read_text("utf-8").partition("\n\n")
    assert re.fullmatch("# .+", title)
    assert rest.startswith("For ")


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT))
)
def test_code_stands_in_fences_that_name_its_language(document: Path) -> None:
    assert [block.content for block in tokens(document) if block.type == "code_block"] == []
    fences = [block for block in tokens(document) if block.type == "fence"]
    assert {block.info for block in fences} <= {"bash", "console", "python", "text", "yaml"}


def test_every_page_stands_in_both_lists_of_pages() -> None:
    """Of docs/README.md and the README; what has no place in the navigation fails the build."""
    pages = {page.name for page in PAGES} - {"README.md"}
    assert set(targets(DOCS / "README.md")) == pages
    index = (ROOT / "README.md").read_text("utf-8").partition("## Documentation\n")[2]
    assert set(re.findall(r"\(docs/(\w+\.md)\)", index)) == {*pages, "README.md"}
