"""The Jinja2 environment of the page's templates: every value is made printable and escaped.

Only what `page` marks as `Markup`, our own scripts, styles and data, is inserted unchanged.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlkd_plugin.rlkd_eval.report.curves import printable

FOLDER = Path(__file__).parent


@cache
def environment() -> Environment:
    """Return the environment in which the templates are rendered."""
    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["clip"] = clip
    return templates


def read_asset(name: str) -> str:
    """Return one of our scripts or styles."""
    return (FOLDER / name).read_text("utf-8")


def clip(text: str, most: int) -> str:
    """Return a text's first `most` characters, and the number of further ones."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"


def _finalize(value: object) -> str:
    """Make a value printable, before Jinja2 escapes it."""
    return value if isinstance(value, Markup) else printable(str(value))
