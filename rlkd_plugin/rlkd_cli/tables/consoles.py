"""The consoles that the tables are printed on."""

from rich.console import Console

WIDE = 160
"""Columns of a wide table; in a narrower terminal its lines wrap, but no number is cut."""


def plain_console() -> Console:
    """Return a console that prints texts of users and models verbatim."""
    return Console(markup=False, emoji=False, highlight=False)


def wide_console() -> Console:
    """Return a plain console for tables that are wider than some terminals."""
    width = max(WIDE, Console().width)
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)
