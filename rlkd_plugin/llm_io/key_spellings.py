"""The spellings of a key in a text: plain, escaped as in JSON or a URL, or in base64.

Pure. Not here: the keys themselves, and the texts they are removed from (`own_keys`).
"""

import base64
import json
import re
from urllib.parse import quote

_BASE64 = "[A-Za-z0-9+/_-]"
_WORD = "[A-Za-z0-9_]"
_ESCAPE = r"\\{1,16}"
"""The backslashes of an escape, several for JSON inside JSON; bounded for a fast search."""


def has_escapes(text: str) -> bool:
    """Return whether a text may escape printable characters, as those of a key."""
    is_in_url = "%" in text and any(f"%{digit}" in text for digit in "234567")
    if is_in_url or "\\" not in text:
        return is_in_url
    return "\\/" in text or ("\\u00" in text and any(f"\\u00{digit}" in text for digit in "234567"))


def plain_spellings(key: str) -> set[str]:
    """Return a key as it is, as JSON writes it, and percent-encoded."""
    encoded = {quote(key, safe=""), quote(key)}
    small = {re.sub("%..", lambda escape: escape[0].lower(), text) for text in encoded}
    return {key, json.dumps(key)[1:-1], *encoded, *small}


def base64_spellings(key: str) -> set[str]:
    """Return the parts of a base64 text that a key in it produces, whatever surrounds the key.

    A base64 character has six bits, so a key has three alignments. Characters that share bits with
    the key's neighbours are dropped.
    """
    spelt = set()
    for before in range(3):
        bits = 8 * (before + len(key))
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + key.encode()).decode()
            spelt.add(text[-(-8 * before // 6) : bits // 6])
    return spelt


def spelling_pattern(key: str, *, as_a_word: bool = False) -> "re.Pattern[str]":
    """Return a pattern of a key in which any character may be escaped.

    Args:
        key: of ASCII.
        as_a_word: whether no ASCII letter, digit or underscore may be next to it.
    """
    characters = "".join(map(_character, key))
    return re.compile(rf"(?<!{_WORD}){characters}(?!{_WORD})" if as_a_word else characters)


def base64_pattern(spelling: str) -> "re.Pattern[str]":
    """Return a pattern of one of `base64_spellings` and the neighbours that share its bits."""
    characters = "".join(map(_character, spelling))
    return re.compile(rf"(?:(?<!\\){_BASE64})?{characters}{_BASE64}?={{0,2}}")


def _character(character: str) -> str:
    """Return a pattern of one character as a text, JSON or a URL may spell it."""
    code = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(character):02x}")
    spelt = [re.escape(character), rf"{_ESCAPE}u00{code}", f"%{code}"]
    if character in '"\\/':
        spelt.insert(0, _ESCAPE + re.escape(character))
    return f"(?:{'|'.join(spelt)})"
