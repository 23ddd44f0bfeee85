"""The fields of other people's rows: a text, a reasoning path, a domain, or a `FormatError`."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.prompts import DOMAINS

_SCIENCES = {"biology": "science", "physics": "science", "chemistry": "science"}
_DOMAIN_OF = {domain: domain for domain in DOMAINS} | _SCIENCES


def text_of(raw: Mapping[str, Any], name: str) -> str:
    """Return a field without surrounding white space; a number becomes a text.

    Raises:
        FormatError: if the field holds neither.
    """
    value = raw.get(name)
    text = value if isinstance(value, str) else number_text(value)
    if not text or not text.strip():
        raise FormatError(f"{name} is missing or not a text: {value!r:.200}")
    return text.strip()


def number_text(value: Any) -> str | None:
    """Return a number in plain digits, without an exponent; None for any other value.

    A boolean, NaN or an infinity also gives None.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int):
        return str(value)
    return format(Decimal(str(value)), "f") if math.isfinite(value) else None


def path_of(raw: Mapping[str, Any]) -> str:
    """Return a row's `reasoning_path`, else its `teacher_reasoning`.

    Raises:
        FormatError: if neither holds a text.
    """
    value = raw.get("reasoning_path")
    has_one = number_text(value) or (isinstance(value, str) and value.strip())
    if has_one or not raw.get("teacher_reasoning"):
        return text_of(raw, "reasoning_path")
    return text_of(raw, "teacher_reasoning")


def domain_of(raw: Mapping[str, Any]) -> str:
    """Return which of the four domains a row belongs to, its name in any letter case.

    The natural sciences are `science`.

    Raises:
        FormatError: if the row has no domain, or one that is not one of the four.
    """
    return _known_domain(raw.get("domain"))


def domain_or_math(raw: Mapping[str, Any]) -> str:
    """Return a row's domain as `domain_of` does; a row without one is of `math`.

    Raises:
        FormatError: if the row names a domain that is not one of the four.
    """
    return _known_domain(raw.get("domain") or "math")


def _known_domain(domain: Any) -> str:
    name = domain.strip().lower() if isinstance(domain, str) else None
    if name not in _DOMAIN_OF:
        raise FormatError(f"domain is not one of {', '.join(_DOMAIN_OF)}: {domain!r:.200}")
    return _DOMAIN_OF[name]
