"""The consoles that the tables are printed on."""

from rich.console import Console

WIDE = 160
"""Columns of a wide table; in a narrower terminal its lines wrap, but no number is cut."""


def plain_console() -> Console:
    """Return a console that shows texts of users and models as they are."""
    return Console(markup=False, highlight=False)


def wide_console() -> Console:
    """Return a console for tables that are wider than some terminals."""
    return Console(soft_wrap=True, highlight=False, width=max(WIDE, Console().width))
