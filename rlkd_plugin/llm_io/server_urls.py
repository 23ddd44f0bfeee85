"""Checks the URL of a server in a setting or an option.

A URL appears in logs, errors and files, so it must not hold a secret: no user, no query and no
fragment, not even empty ones. Pure. Not here: the URLs of proxies (`proxies`), which may have
passwords.
"""

import re
import unicodedata
from urllib.parse import unquote

from rlkd_plugin.gsrm import FormatError

_MAY_HOLD_A_KEY = frozenset("@?#;\\")
"""Characters before or after which a key may occur; some clients read a backslash as a slash."""
_FORM = re.compile(
    r"(?P<scheme>https?)://"
    r"(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f:/\[\]|&=,'\"<>]+)"
    r"(:(?P<port>[0-9]{0,5}))?"
    r"(/[^\x00-\x20\x7f,]*)?",
    re.IGNORECASE,
)


def check_url(url: str, key_option: str) -> str:
    """Return a server's URL without a slash at the end, and with a lower-case scheme.

    Args:
        url: as the user gives it.
        key_option: the option that names the variable with the key.

    Raises:
        FormatError: if it may hold a key, or is not the URL of a server. The message continues the
            name of a setting or an option, and shows nothing of the URL.
    """
    if _MAY_HOLD_A_KEY & set(_decode(url)):
        raise FormatError(
            "must not hold a key: no user before an @, and nothing after a ? or a #; name the "
            f"key's variable in {key_option}"
        )
    found = _FORM.fullmatch(url)
    if not found or url.count("://") > 1 or int(found["port"] or 0) > 65535:
        raise FormatError("must look like http://host:port/v1")
    return found["scheme"].lower() + url[found.end("scheme") :].rstrip("/")


def _decode(url: str) -> str:
    """Return a URL with all levels of escapes removed, and look-alikes as ASCII."""
    before = ""
    while url != before:
        before, url = url, unicodedata.normalize("NFKC", unquote(url))
    return url
