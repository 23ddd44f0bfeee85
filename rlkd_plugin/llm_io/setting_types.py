"""The types of the settings that are neither a number nor a word, and how their texts are read.

Not here: which settings there are (`settings`).
"""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from rlkd_plugin.gsrm.phases import Phase


def _split_urls(value: object) -> object:
    """Return the URLs of a comma-separated text; a value that is no text is for pydantic."""
    if not isinstance(value, str):
        return value
    urls = tuple(url.strip().rstrip("/") for url in value.split(",") if url.strip())
    for url in urls:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            raise ValueError("a URL must not hold a key; name a variable in ..._API_KEY_ENV")
        port = parts.netloc.rpartition("]")[2].partition(":")[2]
        if not (
            parts.scheme in ("http", "https")
            and parts.hostname
            and (not port or (port.isdecimal() and int(port) < 65536))
        ):
            raise ValueError("each URL must look like http://host:port/v1")
    return urls


def _split_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _check_variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("it holds the name of the variable with the key, not the key itself")
    return value


Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_urls)]
"""Comma-separated base URLs, without a slash at the end."""

Phases = Annotated[tuple[Phase, ...], NoDecode, BeforeValidator(_split_names)]
"""Comma-separated phases of the structured fine-grained training."""

VariableName = Annotated[str, AfterValidator(_check_variable_name)]
"""The name of an environment variable that holds a key; a key itself is rejected."""

Folder = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in which `~` is the user's home."""
