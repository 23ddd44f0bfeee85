"""The URL of a server as a user gives it, in a setting or an option.

A URL stands in logs, errors and files, so it holds no secret: no user, no query and no fragment,
empty ones included. Pure. Not here: the URLs of proxies (`proxies`), which may have passwords.
"""

import re
import unicodedata
from urllib.parse import unquote

from rlkd_plugin.gsrm import FormatError

_MAY_HOLD_A_KEY = frozenset("@?#;\\")
"""Characters behind or before which a key may stand; some clients read a backslash as a slash."""
_FORM = re.compile(
    r"(?P<scheme>https?)://"
    r"(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f:/\[\]|&=,'\"<>]+)"
    r"(:(?P<port>[0-9]{0,5}))?"
    r"(/[^\x00-\x20\x7f,]*)?",
    re.IGNORECASE,
)


def check_url(url: str, key_option: str) -> str:
    """Return a server's URL without a slash at its end, and its scheme in small letters.

    Args:
        url: as the user gives it.
        key_option: where to name the variable that holds the key.

    Raises:
        FormatError: if it may hold a key, or is no URL of a server; the message goes on from the
            name of a setting or an option, and repeats nothing of the URL.
    """
    if _MAY_HOLD_A_KEY & set(_decoded(url)):
        raise FormatError(
            "must not hold a key: no user before an @, and nothing behind a ? or a #; name the "
            f"key's variable in {key_option}"
        )
    found = _FORM.fullmatch(url)
    if not found or url.count("://") > 1 or int(found["port"] or 0) > 65535:
        raise FormatError("must look like http://host:port/v1")
    return found["scheme"].lower() + url[found.end("scheme") :].rstrip("/")


def _decoded(url: str) -> str:
    """Return a URL without escapes, however often it is escaped, and look-alikes as ASCII."""
    before = ""
    while url != before:
        before, url = url, unicodedata.normalize("NFKC", unquote(url))
    return url
