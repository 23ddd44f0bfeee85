"""Explains failed connections: a host name, a proxy, a certificate, the wrong scheme.

Not here: errors that a server replies with (`endpoint`), and retries (`chat_client`).
"""

import asyncio
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from rlkd_plugin.llm_io.proxies import Proxy

HANDSHAKE_SECONDS = 5.0
"""Seconds within which a port that speaks TLS completes a handshake."""

_OTHER_NAME = (62, 63, 64)
_EXPIRED, _NOT_YET = 10, 9
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


class ConnectionFault(Exception):
    """A request without a reply.

    Attributes:
        is_final: whether a retry is useless, at least at the start of a run.
        status: HTTP status of a proxy's rejection.
    """

    def __init__(self, words: str, is_final: bool = False, status: int | None = None) -> None:
        super().__init__(words)
        self.is_final = is_final
        self.status = status


async def fault_of(
    error: Exception, url: str, proxy: Proxy | None, setting: str, is_known: bool
) -> ConnectionFault:
    """Return the cause of a failed request, with the remedy.

    Args:
        error: of aiohttp or the operating system.
        url: the server's.
        proxy: the proxy of the request, if any.
        setting: the variable that holds the URL.
        is_known: whether the server answered before.
    """
    direct = _direct(url)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if proxy:
            return ConnectionFault(
                f"the host of {proxy} is unknown; correct {proxy.variable}, or {direct}",
                is_final=True,
            )
        return ConnectionFault(f"the host of {url} is unknown; correct {setting}", is_final=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_rejection(error, proxy, url)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectionFault(
            f"{proxy} cannot be reached: {error.os_error}; correct {proxy and proxy.variable}, or "
            f"{direct}"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_fault(error.certificate_error, setting)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _handshake_fault(error, url, setting)
    if not (is_known or proxy) and url.startswith("http:") and await _speaks_tls(url):
        return ConnectionFault(
            f"the port speaks TLS, but the URL has http://; write https:// in {setting}",
            is_final=True,
        )
    through = f" (through {proxy})" if proxy else ""
    return ConnectionFault(f"{type(error).__name__}: {error}{through}")


def proxy_remark(proxy: Proxy | None, url: str, status: int) -> str:
    """Return a remark on the proxy that may have sent this reply; empty without a proxy."""
    if proxy is None:
        return ""
    if status == 407:
        return f"{proxy} requires a user and a password: {_login(proxy, url)}"
    return f"this may be the reply of {proxy}; {_direct(url)}"


def is_https_complaint(status: int, payload: bytes) -> bool:
    """Return whether a server rejects plain HTTP at a port for TLS."""
    words = payload.lower()
    return status == 400 and b"http request" in words and b"https" in words


def _proxy_rejection(
    error: aiohttp.ClientHttpProxyError, proxy: Proxy | None, url: str
) -> ConnectionFault:
    status = error.status
    words = f"{proxy} answers HTTP {status} {error.message}"
    if status == 407:
        assert proxy is not None
        remedy = _login(proxy, url)
        return ConnectionFault(
            f"{words}: it requires a user and a password; {remedy}", True, status
        )
    is_transient = status >= 500 or status in (408, 425, 429)
    return ConnectionFault(f"{words}; {_direct(url)}", not is_transient, status)


def _direct(url: str) -> str:
    """Return how to bypass the proxy."""
    return f"set NO_PROXY={urlsplit(url).hostname} to bypass it"


def _login(proxy: Proxy, url: str) -> str:
    """Return what to change if a proxy requires a user and a password."""
    return f"write http://USER:PASSWORD@HOST:PORT in {proxy.variable}, or {_direct(url)}"


def _certificate_fault(error: Exception, setting: str) -> ConnectionFault:
    code = getattr(error, "verify_code", 0)
    reason = getattr(error, "verify_message", "") or str(error)
    file = os.environ.get("SSL_CERT_FILE", "")
    if code in _OTHER_NAME:
        remedy = f"write the host name of its certificate in {setting}"
    elif code in (_EXPIRED, _NOT_YET):
        remedy = "renew it, or correct this machine's clock"
    elif file and not Path(file).is_file():
        remedy = f"correct SSL_CERT_FILE={file}, which is not a file"
    else:
        remedy = (
            "set SSL_CERT_FILE to a PEM file with the certificate, or with that of its authority"
            + (f"; SSL_CERT_FILE={file} does not contain it" if file else "")
        )
    return ConnectionFault(f"the certificate cannot be trusted: {reason}; {remedy}", is_final=True)


def _handshake_fault(
    error: aiohttp.ClientConnectorSSLError, url: str, setting: str
) -> ConnectionFault:
    cause = error.os_error
    reason = getattr(cause, "reason", "") or ""
    if reason in _NO_TLS:
        words = f"the port does not speak TLS; write http:// instead of https:// in {setting}"
        return ConnectionFault(words, is_final=True)
    is_cut = isinstance(cause, ssl.SSLEOFError)  # a server that restarts does so
    return ConnectionFault(f"the TLS handshake with {url} fails: {cause}", is_final=not is_cut)


async def _speaks_tls(url: str) -> bool:
    """Return whether a TLS handshake succeeds at a URL's port, with any certificate."""
    parts = urlsplit(url)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    try:
        opening = asyncio.open_connection(parts.hostname, parts.port or 80, ssl=anyone)
        _, writer = await asyncio.wait_for(opening, HANDSHAKE_SECONDS)
    except (
        ssl.SSLError
    ) as error:  # an alert is an answer, for example to a missing client certificate
        return (error.reason or "").startswith(("TLSV1_ALERT", "TLSV13_ALERT", "SSLV3_ALERT"))
    except (OSError, asyncio.TimeoutError):
        return False
    writer.transport.abort()
    return True
