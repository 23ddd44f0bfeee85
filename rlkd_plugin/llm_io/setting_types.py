"""Types of the settings that are not plain numbers or words, with their parsers.

Not here: the settings (`settings`).
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_settings import NoDecode

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.phases import Phase
from rlkd_plugin.llm_io.server_urls import check_url


def _split_urls(value: object, info: ValidationInfo) -> object:
    """Return the URLs of a text; other values are left to pydantic.

    Commas, semicolons and white space separate them, as no URL of a server contains any.
    """
    if not isinstance(value, str):
        return value
    role = str(info.field_name).removesuffix("_base_url").upper()
    try:
        return tuple(
            check_url(url, f"RLKD_{role}_API_KEY_ENV") for url in re.split(r"[,;\s]+", value) if url
        )
    except FormatError as error:
        raise ValueError(f"each URL {error}; separate several URLs by commas") from None


def _split_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _split_steps(value: object) -> object:
    if not isinstance(value, str):
        return value
    texts = [text.strip() for text in value.split(",") if text.strip()]
    if not all(re.fullmatch("[1-9][0-9]{0,8}", text) for text in texts):
        raise ValueError("give steps as whole numbers from 1 on, comma-separated: 20,40,60")
    return tuple(sorted({int(text) for text in texts}))


def _check_variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("give the name of the variable that holds the key, not the key itself")
    return value


Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_urls)]
"""Base URLs, comma-separated or on separate lines, without a slash at the end."""

Phases = Annotated[tuple[Phase, ...], NoDecode, BeforeValidator(_split_names)]
"""Comma-separated phases of the structured fine-grained training."""

Steps = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split_steps)]
"""Comma-separated steps of a training, sorted and without duplicates."""

VariableName = Annotated[str, AfterValidator(_check_variable_name)]
"""The name of an environment variable that holds a key; a key itself is rejected."""

Folder = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in which `~` is the user's home."""
