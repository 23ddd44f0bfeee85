"""The Chinese pages say what the English ones say: the same commands, options, figures and links.

Prose may differ, so a pair of pages is compared section by section in what no translation changes.
It also holds the form of Chinese text: full-width punctuation, a space beside Latin words.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.stand_ins.places import ROOT

DOCS = ROOT / "docs"
ZH = DOCS / "zh"
TERMS = ZH / "README.md"  # the list of the pages and of their terms: it has no English page
CHINESE_PAGES = sorted(set(ZH.glob("*.md")) - {TERMS})
CHINESE = {
    ROOT / "README.md": ROOT / "README_CN.md",
    **{DOCS / page.name: page for page in CHINESE_PAGES},
}
ENGLISH = {chinese: english for english, chinese in CHINESE.items()}
PAIRS = pytest.mark.parametrize(
    ("english", "chinese"), CHINESE.items(), ids=[page.stem for page in CHINESE]
)
TEXTS = pytest.mark.parametrize("page", [*ENGLISH, TERMS], ids=lambda page: page.name)

HAN = r"[\u4e00-\u9fff]"
WIDE = r"[\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f\uff08\uff09\u201c\u201d]"
COMMENT = re.compile(r"(^|\s+)# .*$", re.MULTILINE)
FIGURE = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\d| \u6708)")  # no month
LANGUAGE_LINKS = {"README.md", "README_CN.md"}


@dataclass
class Section:
    """What stands between two headings, as far as it is the same in both languages."""

    level: str = ""
    fences: list[tuple[str, str]] = field(default_factory=list)
    code: set[str] = field(default_factory=set)
    links: Counter[str] = field(default_factory=Counter)
    figures: set[str] = field(default_factory=set)
    tables: list[int] = field(default_factory=list)
    """The number of cells of each table."""
    items: int = 0


@cache
def tokens(page: Path) -> list[Token]:
    """The blocks of a page, as GitHub parses them."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))


@cache
def anchors(page: Path) -> list[str]:
    """The anchors of the headings in their order, by GitHub's rule."""
    titles = [text.content for mark, text in pairwise(tokens(page)) if mark.type == "heading_open"]
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return [title.replace(" ", "-") for title in titles]


def destination(target: str, page: Path) -> str:
    """Name the English page, and the number of its heading, to which a link of any page leads."""
    if "://" in target:
        return target
    name, _, anchor = unquote(target).partition("#")
    file = (page.parent / name).resolve() if name else page
    assert file not in CHINESE or page not in ENGLISH, f"{target}: there is a Chinese page"
    heading = anchors(file).index(anchor) if anchor else ""
    return f"{ENGLISH.get(file, file).relative_to(ROOT)}#{heading}"


def text_of(inline: Token, with_code: bool = False) -> str:
    """Return the visible text of a block: without the addresses of links, code only if asked."""
    kept = {"text", "code_inline"} if with_code else {"text"}
    breaks = {"softbreak": "\n", "hardbreak": "\n"}
    children = inline.children or []
    return "".join(c.content if c.type in kept else breaks.get(c.type, "") for c in children)


def sections(page: Path) -> list[Section]:
    """Read a page from heading to heading."""
    found = [Section()]
    for block in tokens(page):
        here = found[-1]
        match block.type:
            case "heading_open":
                found.append(Section(level=block.tag))
            case "fence":
                here.fences.append((block.info, COMMENT.sub("", block.content)))
            case "table_open":
                here.tables.append(0)
            case "th_open" | "td_open":
                here.tables[-1] += 1
            case "list_item_open":
                here.items += 1
            case "inline":
                here.figures |= set(FIGURE.findall(text_of(block)))
                for child in block.children or []:
                    target = str(child.attrs.get("href") or child.attrs.get("src") or "")
                    if child.type == "code_inline":
                        here.code.add(child.content)
                    elif target and target not in LANGUAGE_LINKS:
                        here.links[destination(target, page)] += 1
    return found


def test_the_pages_of_users_have_a_chinese_page() -> None:
    pages = {page.stem for page in CHINESE_PAGES}
    assert pages == {"getting_started", "recipes", "ascend", "reward", "faq"}
    listed = {block.attrs.get("href") for t in tokens(TERMS) for block in t.children or []}
    assert {page.name for page in CHINESE_PAGES} <= listed


def test_both_readmes_lead_to_each_other() -> None:
    for page, other in (("README.md", "README_CN.md"), ("README_CN.md", "README.md")):
        head = (ROOT / page).read_text("utf-8").splitlines()[:4]
        assert f"]({other})" in "".join(head)


@PAIRS
def test_both_languages_have_the_same_headings(english: Path, chinese: Path) -> None:
    assert [here.level for here in sections(chinese)] == [here.level for here in sections(english)]


@PAIRS
@pytest.mark.parametrize("what", ["fences", "code", "figures", "tables", "items"])
def test_both_languages_say_the_same(english: Path, chinese: Path, what: str) -> None:
    """Code blocks but for comments; code in the text: commands, options, variables, names; figures.

    Also the number of cells of each table, and of items of the lists.
    """
    for number, (ours, theirs) in enumerate(zip(sections(chinese), sections(english), strict=True)):
        assert getattr(ours, what) == getattr(theirs, what), f"section {number} of {chinese.name}"


@PAIRS
def test_both_languages_link_to_the_same(english: Path, chinese: Path) -> None:
    """A link of a Chinese page leads to the Chinese page where there is one."""
    for number, (ours, theirs) in enumerate(zip(sections(chinese), sections(english), strict=True)):
        missing = theirs.links - ours.links
        assert not missing, f"section {number} of {chinese.name}"
        own = {ENGLISH[page].relative_to(ROOT).as_posix() for page in ENGLISH}
        own |= {"docs/zh/README.md"}
        assert all(link.partition("#")[0] in own for link in ours.links - theirs.links)


@PAIRS
def test_the_figures_of_tables_are_the_same(english: Path, chinese: Path) -> None:
    """Cell by cell, where a cell of the English page holds a figure and no words."""

    def cells(page: Path) -> list[str]:
        marks = ("td_open", "th_open")
        return [text_of(text, True) for mark, text in pairwise(tokens(page)) if mark.type in marks]

    for ours, theirs in zip(cells(chinese), cells(english), strict=True):
        if re.fullmatch(r"[\d.,%x s-]*", theirs):
            assert re.sub("\u3001", ", ", ours) == theirs


@PAIRS
def test_a_chinese_page_says_for_whom_it_is(english: Path, chinese: Path) -> None:
    title, _, rest = chinese.read_text("utf-8").partition("\n\n")
    assert title.startswith("# ")
    assert chinese.name == "README_CN.md" or rest.startswith("\u9762\u5411")


@TEXTS
def test_chinese_text_has_its_form(page: Path) -> None:
    """Spaces beside Latin words and figures, full-width punctuation, one line a paragraph."""
    rules = {
        "no space between Chinese and Latin": rf"{HAN}[A-Za-z0-9\-]|[A-Za-z0-9%]{HAN}",
        "half-width punctuation": rf"{HAN}[,;:!?()]|[,;:!?()]{HAN}|{HAN}\.",
        "a space beside full-width punctuation": rf"{WIDE}\s|\s{WIDE}",
        "an emphasis that is not one": r"\*\*|(?<!\w)\*(?=\w)|__",
        "a line that ends within a paragraph": r"\n",
    }
    wrong = []
    for block in tokens(page):
        if block.type == "inline":
            text = text_of(block, with_code=True)
            wrong += [
                f"{rule}: {text[max(found.start() - 15, 0) : found.end() + 15]}"
                for rule, pattern in rules.items()
                for found in re.finditer(pattern, text)
            ]
    assert wrong == []
