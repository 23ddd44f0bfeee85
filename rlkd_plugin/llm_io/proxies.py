"""Which proxy stands between this process and a server, by the usual environment variables.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in small or capital letters; this machine is always
asked directly. Pure but for the environment. Not here: what a proxy's failure means
(`connection_faults`).
"""

import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from rlkd_plugin.gsrm import EndpointError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it.

    Attributes:
        address: its URL, with user and password where there are any.
        shown: its URL without them.
        variable: `HTTPS_PROXY` ...
    """

    address: str = field(repr=False)
    shown: str
    variable: str

    def __str__(self) -> str:
        return f"the proxy {self.shown} ({self.variable})"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy through which a URL is asked, None for none.

    Raises:
        EndpointError: if the variable holds no URL of an HTTP proxy; the message repeats no value,
            as it may hold a password.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies_environment()
    name = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if name is None or is_this_machine(url) or _is_excepted(host, parts.netloc, proxies):
        return None
    variable = f"{name.upper()}_PROXY"
    variable = variable if variable in os.environ else variable.lower()
    value = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
    try:
        found = urlsplit(value)
        port = found.port
    except ValueError:
        found, port = urlsplit(""), None
    if found.scheme not in ("http", "https") or not found.hostname:
        what = "a SOCKS proxy" if found.scheme.startswith("socks") else "no URL of a proxy"
        raise EndpointError(
            f"{variable}, through which {url} would be asked, names {what}; name an HTTP proxy, "
            f"http://host:port, or put {host} into NO_PROXY"
        )
    shown_host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    shown = f"{found.scheme}://{shown_host}" + (f":{port}" if port else "")
    return Proxy(value, shown, variable)


def is_this_machine(url: str) -> bool:
    """Say whether a URL is of this machine, which no proxy reaches."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(host: str, netloc: str, proxies: dict[str, str]) -> bool:
    """Say whether NO_PROXY has a host: by name, with its port, by domain, or by network."""
    if proxy_bypass(netloc):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in proxies.get("no", "").split(","):
        try:
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False
