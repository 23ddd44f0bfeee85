"""The English of the package: how docstrings begin, and phrases with a plainer term."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlkd_plugin

PACKAGE = Path(rlkd_plugin.__file__).parent
OPENINGS = re.compile(r"(?:For so|So|Of|That|What)\b")
"""Beginnings of a docstring whose subject only the code shows."""
PHRASES = re.compile(
    r"\b(?:(?:takes?|took|taken|taking) apart|ask(?:s|ed|ing)? again|passing errors?"
    r"|text that (?:a|the) server does not take|seen before|(?:leaves?|left|leaving) out"
    r"|other doors|(?:so often|for so long)|said once|(?-i:patience)(?!:))\b",
    re.IGNORECASE,
)
"""Decompose, retry, transient error, rejected text, duplicate, skip, integrations, retry deadline;
`patience:` documents the parameter of this name, and capitals are a setting's."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of modules, classes, functions and constants."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        owners = [node, *body[:-1]] if isinstance(node, ast.Module | ast.ClassDef) else [node]
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        for owner, one in zip(owners, body, strict=False):
            is_documented = owner is node and isinstance(node, kinds)
            if not is_documented and not isinstance(owner, ast.Assign | ast.AnnAssign):
                continue
            match one:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield one.lineno, text


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string and of each block of comments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)):
                yield node.lineno, text
    block: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            block.append(token.string.lstrip("#"))
        elif block and token.type not in (tokenize.NL, tokenize.NEWLINE):
            yield token.start[0] - len(block), " ".join(block)
            block = []


def odd_openings(source: str) -> list[tuple[int, str]]:
    """Return line and beginning of the docstrings that begin with one of `OPENINGS`."""
    found = docstrings(ast.parse(source))
    return [(line, text.strip()[:40]) for line, text in found if OPENINGS.match(text.strip())]


def odd_phrases(source: str) -> list[tuple[int, str]]:
    """Return line and words of each of the `PHRASES`."""
    plain = ((line, " ".join(text.split())) for line, text in texts(source))
    return [(line, found[0]) for line, text in plain for found in PHRASES.finditer(text)]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_no_docstring_begins_with_a_riddle() -> None:
    found = {str(file): odd_openings(file.read_text("utf-8")) for file in sources()}
    assert {file: lines for file, lines in found.items() if lines} == {}
    assert len(found) > 100


def test_the_package_uses_the_fields_terms() -> None:
    found = {str(file): odd_phrases(file.read_text("utf-8")) for file in sources()}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Of a module."""', 1),
        ('"""A module.\n\nOf course."""', 0),
        ('A = 1\n"""So many."""', 1),
        ('class A:\n    b: int = 1\n    """What b is."""', 1),
        ('def f():\n    """That which f does."""', 1),
        ('async def f():\n    """Whatever it does."""', 0),
        ('print("What?")\n"A"', 0),
    ],
)
def test_docstrings_of_every_kind_are_read(source: str, count: int) -> None:
    assert len(odd_openings(source)) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("# a server is asked\n# again later\nx = 1", 1),
        ('raise E(f"the row {x} is left "\n        "out")', 1),
        ('"""\n    patience: seconds.\n"""', 0),
        ("patience = 1  # RLKD_STARTUP_PATIENCE", 0),
        ("# less patience", 1),
        ("# asked against", 0),
    ],
)
def test_strings_and_comments_are_read_across_lines(source: str, count: int) -> None:
    assert len(odd_phrases(f"{source}\n")) == count
