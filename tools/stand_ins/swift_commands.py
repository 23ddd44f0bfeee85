"""Command lines of ms-swift."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec


def option_words(options: Mapping[str, object]) -> list[str]:
    """Return options as on a command line; a list is an option with several values."""
    words = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words.append(f"--{name}")
        words += [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    return words


def swift_command(name: str, options: Mapping[str, object]) -> list[str]:
    """Return the command line of `swift NAME` in this environment."""
    spec = find_spec(f"swift.cli.{name}")
    assert spec and spec.origin, f"ms-swift has no command {name}"
    return [sys.executable, spec.origin, *option_words(options)]
