"""The keys of this process, which are removed from all texts of servers.

A server, a gateway or a model may repeat a key that it received. Its texts reach the servers of
other roles, files and logs. So the keys of all roles are removed from every text when it arrives.
Not here: the spellings of a key (`key_spellings`).
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from rlkd_plugin.llm_io.key_spellings import (
    base64_pattern,
    base64_spellings,
    has_escapes,
    plain_spellings,
    spelling_pattern,
)
from rlkd_plugin.llm_io.settings import PREFIX, Settings

MASK = "***"
SHORTEST_KEY = 12
"""Smallest length of a key that is removed from replies in any position. A shorter one may be a
placeholder such as `EMPTY`, or a part of a word."""
SHORTEST_WORD = 8
"""Smallest length of a key that is removed from replies as a separate word, unless it is a plain
word or a number."""
SHORTEST_PART = 4
"""Smallest length of a key that is removed from errors in any position, unless it is a plain word
or a number. Others may be a part of an option's name, and are removed as separate words."""
MOST_SPELT = 21
"""Longest spelling of one character of a key: 16 backslashes and `u0041`."""
SHORTEST_BASE64 = 6
"""Smallest length of a base64 spelling that is no coincidence in an error."""

_SECRET_NAME = re.compile("key|secret|passw|auth|credential|bearer|token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[\w.~+/=-]{8,}", re.ASCII)
_SECRET_BEGIN = re.compile("(sk|hf|ghp|nvapi|xai|gsk|pk)[-_]|Bearer ")


class OwnKeys:
    """Removes keys from texts; a pickled copy has no keys.

    Args:
        keys: of printable ASCII, as in HTTP headers; others and empty ones are skipped.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        found = {key for key in keys if key and key.isascii() and key.isprintable()}
        longest_first = sorted(found, key=lambda key: (-len(key), key))
        in_replies = [
            key for key in longest_first if len(key) >= SHORTEST_WORD and not _is_word(key)
        ]
        self._in_replies = _Redactor(in_replies, as_parts=SHORTEST_KEY)
        self._in_errors = _Redactor(longest_first, as_parts=SHORTEST_PART)

    def __reduce__(self) -> tuple[type["OwnKeys"], tuple[()]]:
        return OwnKeys, ()

    @property
    def reach(self) -> int:
        """Longest spelling of a key in a reply; 0 without keys."""
        return MOST_SPELT * self._in_replies.longest

    def redact(self, text: str) -> str:
        """Return a text of a model without the keys, except short ones."""
        return self._in_replies.redact(text)

    def redact_error(self, text: str) -> str:
        """Return an error's text without the keys, short ones included."""
        return self._in_errors.redact(text)

    def redact_body(self, payload: bytes, *, is_error: bool) -> bytes:
        """Return the body of a reply without the keys; JSON stays valid."""
        redactor = self._in_errors if is_error else self._in_replies
        return redactor.redact_body(payload)


class _Redactor:
    """Removes keys; those shorter than `as_parts` only as separate words."""

    def __init__(self, keys: Iterable[str], as_parts: int) -> None:
        self._keys = {key: len(key) < as_parts or _is_word(key) for key in keys}
        self.longest = max(map(len, self._keys), default=0)
        least = SHORTEST_BASE64 if as_parts < SHORTEST_KEY else SHORTEST_WORD
        every = {text for key in self._keys for text in base64_spellings(key)}
        self._base64 = sorted(text for text in every if len(text) >= least)
        plain = {text for key in self._keys for text in plain_spellings(key)}
        self._spelt = [*plain, *self._base64]
        self._is_odd = any(mark in key for key in self._keys for mark in '"\\')

    def redact(self, text: str) -> str:
        """Return a text without the keys."""
        if self._holds_one(text):
            for pattern in self._patterns:
                text = pattern.sub(MASK, text)
        return text

    def redact_body(self, payload: bytes) -> bytes:
        """Return a reply's body without the keys."""
        text = payload.decode("latin-1")  # keys are ASCII, and every byte is preserved
        if not self._holds_one(text):
            return payload
        with suppress(ValueError, RecursionError):  # JSON stays valid
            text = json.dumps(self._redact_value(json.loads(payload)))
        return self.redact(text).encode("latin-1")

    @cached_property
    def _patterns(self) -> "list[re.Pattern[str]]":
        """The patterns to remove; compiled for the first text that needs them."""
        plain = [spelling_pattern(key, as_a_word=alone) for key, alone in self._keys.items()]
        return [*map(base64_pattern, self._base64), *plain]

    def _holds_one(self, text: str) -> bool:
        """Return whether a text may hold a key; for nearly all texts this takes microseconds."""
        if any(spelling in text for spelling in self._spelt):
            return True
        is_escaped = bool(self._keys) and (has_escapes(text) or (self._is_odd and "\\" in text))
        return is_escaped and any(pattern.search(text) for pattern in self._patterns)

    def _redact_value(self, value: Any) -> Any:
        """Return a value of JSON without the keys."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self._redact_value(part) for part in value]
        if isinstance(value, dict):
            return {self.redact(name): self._redact_value(part) for name, part in value.items()}
        if isinstance(value, int | float) and self._holds_one(str(value)):
            return self.redact(str(value))
        return value


def own_keys(*variables: str) -> OwnKeys:
    """Return the keys of all roles and the passwords of proxies, from the environment.

    Args:
        variables: names of further variables that hold a key.
    """
    return OwnKeys([*_role_keys(variables), *_body_secrets(), *_proxy_passwords()])


def read_key(variable: str) -> str:
    """Return the key that a variable holds, or ""."""
    return os.environ.get(variable, "").strip()  # without the line end of a file


def is_sendable(key: str) -> bool:
    """Return whether an HTTP header can hold a key."""
    return key.isascii() and key.isprintable()


def _role_keys(variables: Iterable[str]) -> Iterator[str]:
    yield from map(read_key, variables)
    for name, option in Settings.model_fields.items():
        if name.endswith("_api_key_env"):
            yield read_key(_read_setting(name) or option.default)


def _read_setting(option: str) -> str:
    """Return a setting's value in the environment, with a name in any letter case, or ""."""
    name = PREFIX + option.upper()
    given = {key.upper(): value for key, value in os.environ.items() if value}
    return os.environ.get(name) or given.get(name, "")


def _body_secrets() -> Iterator[str]:
    """Yield values that look like secrets in the further keys of requests."""
    for name in Settings.model_fields:
        if name.endswith("_body"):
            try:
                body = json.loads(_read_setting(name) or "{}")
            except (ValueError, RecursionError):
                continue  # the settings report it
            yield from _secrets_in(body, "")


def _secrets_in(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _secrets_in(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _secrets_in(part, name)
    elif isinstance(value, str):
        is_named = _SECRET_NAME.search(name) and _SECRET_VALUE.fullmatch(value)
        if is_named or _SECRET_BEGIN.match(value):
            yield value.removeprefix("Bearer ")


def _proxy_passwords() -> Iterator[str]:
    for value in getproxies_environment().values():
        try:
            password = urlsplit(value if "://" in value else f"http://{value}").password or ""
        except ValueError:
            continue  # `proxies` reports it
        yield password
        yield unquote(password)


def _is_word(key: str) -> bool:
    """Return whether a key may be a word or a number that a server writes by chance."""
    return len(key) < SHORTEST_KEY and (key.isalpha() or key.isdigit())
