"""Finds the proxy for a server in the usual environment variables.

These are HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower or upper case. Servers on this
machine are always reached directly. Pure, except for the environment. Not here: errors of a proxy
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
    """Return the proxy for a URL, or None.

    Raises:
        EndpointError: if the variable does not hold the URL of an HTTP proxy. The message does not
            show the value, which may hold a password.
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
            f"{variable}, the proxy for {url}, names {what}; name an HTTP proxy, http://host:port, "
            f"or add {host} to NO_PROXY"
        )
    shown_host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    shown = f"{found.scheme}://{shown_host}" + (f":{port}" if port else "")
    return Proxy(value, shown, variable)


def is_this_machine(url: str) -> bool:
    """Return whether a URL is on this machine, for which no proxy is used."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(host: str, netloc: str, proxies: dict[str, str]) -> bool:
    """Return whether NO_PROXY contains a host: by name, with its port, by domain or by network."""
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
