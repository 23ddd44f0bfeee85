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
    """Return the URLs of a text; a value that is no text is for pydantic.

    Commas part them; semicolons and white space do too, as no URL of a server holds any.
    """
    if not isinstance(value, str):
        return value
    urls = tuple(url.rstrip("/") for url in re.split(r"[,;\s]+", value) if url)
    for url in urls:
        parts = urlsplit(url)
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise ValueError("a URL must not hold a key; name a variable in ..._API_KEY_ENV")
        port = parts.netloc.rpartition("]")[2].partition(":")[2]
        if not (
            parts.scheme in ("http", "https")
            and parts.hostname
            and url.count("://") == 1
            and (not port or (port.isdecimal() and int(port) < 65536))
        ):
            raise ValueError("each URL must look like http://host:port/v1; commas part several")
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
"""Base URLs, comma-separated or on lines of their own, without a slash at the end."""

Phases = Annotated[tuple[Phase, ...], NoDecode, BeforeValidator(_split_names)]
"""Comma-separated phases of the structured fine-grained training."""

VariableName = Annotated[str, AfterValidator(_check_variable_name)]
"""The name of an environment variable that holds a key; a key itself is rejected."""

Folder = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in which `~` is the user's home."""
