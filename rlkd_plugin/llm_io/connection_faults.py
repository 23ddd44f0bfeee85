"""What a connection that fails means: a name, a proxy, a certificate, the wrong scheme.

Not here: what a server says that can be reached (`endpoint`), and what is retried (`chat_client`).
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
        status: of a proxy that does not connect.
    """

    def __init__(self, words: str, is_final: bool = False, status: int | None = None) -> None:
        super().__init__(words)
        self.is_final = is_final
        self.status = status


async def fault_of(
    error: Exception, url: str, proxy: Proxy | None, setting: str, is_known: bool
) -> ConnectionFault:
    """Return what a failed request means.

    Args:
        error: of aiohttp or the operating system.
        url: the server's.
        proxy: the one through which it was asked.
        setting: the variable that names the server.
        is_known: whether the server answered before.
    """
    direct = _direct(url)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if proxy:
            return ConnectionFault(
                f"the host of {proxy}, through which it is asked, is unknown; correct "
                f"{proxy.variable}, or {direct}",
                is_final=True,
            )
        return ConnectionFault(f"the host of {url} is unknown; correct {setting}", is_final=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_refusal(error, proxy, url)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectionFault(
            f"{proxy}, through which it is asked, cannot be reached: {error.os_error}; correct "
            f"{proxy and proxy.variable}, or {direct}"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_fault(error.certificate_error, setting)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _handshake_fault(error, url, setting)
    if not (is_known or proxy) and url.startswith("http:") and await _speaks_tls(url):
        return ConnectionFault(
            f"the port speaks TLS, and is asked without; write https:// in {setting}",
            is_final=True,
        )
    through = f" (through {proxy})" if proxy else ""
    return ConnectionFault(f"{type(error).__name__}: {error}{through}")


def proxy_remark(proxy: Proxy | None, url: str, status: int) -> str:
    """Return a remark on the proxy whose own reply this may be; empty without a proxy."""
    if proxy is None:
        return ""
    if status == 407:
        return f"{proxy} wants a user and a password: {_login(proxy, url)}"
    return f"it was asked through {proxy}, whose reply this may be; {_direct(url)}"


def is_https_complaint(status: int, payload: bytes) -> bool:
    """Say whether a server complains of plain HTTP at a port for TLS."""
    words = payload.lower()
    return status == 400 and b"http request" in words and b"https" in words


def _proxy_refusal(
    error: aiohttp.ClientHttpProxyError, proxy: Proxy | None, url: str
) -> ConnectionFault:
    status = error.status
    words = f"{proxy}, through which it is asked, answers HTTP {status} {error.message}"
    if status == 407:
        assert proxy is not None
        remedy = _login(proxy, url)
        return ConnectionFault(f"{words}: it wants a user and a password; {remedy}", True, status)
    is_transient = status >= 500 or status in (408, 425, 429)
    return ConnectionFault(f"{words}; {_direct(url)}", not is_transient, status)


def _direct(url: str) -> str:
    """Return how a server is asked without the proxy."""
    return f"NO_PROXY={urlsplit(url).hostname} asks without it"


def _login(proxy: Proxy, url: str) -> str:
    """Return what to change where a proxy wants a user and a password."""
    return f"write http://USER:PASSWORD@HOST:PORT in {proxy.variable}, or {_direct(url)}"


def _certificate_fault(error: Exception, setting: str) -> ConnectionFault:
    code = getattr(error, "verify_code", 0)
    told = getattr(error, "verify_message", "") or str(error)
    file = os.environ.get("SSL_CERT_FILE", "")
    if code in _OTHER_NAME:
        remedy = f"name the server in {setting} as its certificate does"
    elif code in (_EXPIRED, _NOT_YET):
        remedy = "renew it, or correct this machine's clock"
    elif file and not Path(file).is_file():
        remedy = f"SSL_CERT_FILE={file} is no file"
    else:
        remedy = (
            "let SSL_CERT_FILE name a file with the certificate, or with that of its authority "
            "(PEM)" + (f"; SSL_CERT_FILE={file} does not hold it" if file else "")
        )
    return ConnectionFault(f"the certificate cannot be trusted: {told}; {remedy}", is_final=True)


def _handshake_fault(
    error: aiohttp.ClientConnectorSSLError, url: str, setting: str
) -> ConnectionFault:
    cause = error.os_error
    reason = getattr(cause, "reason", "") or ""
    if reason in _NO_TLS:
        words = f"the port speaks no TLS; write http:// in place of https:// in {setting}"
        return ConnectionFault(words, is_final=True)
    is_cut = isinstance(cause, ssl.SSLEOFError)  # a server that restarts does so
    return ConnectionFault(f"the TLS handshake with {url} fails: {cause}", is_final=not is_cut)


async def _speaks_tls(url: str) -> bool:
    """Say whether a TLS handshake succeeds at a URL's port, whatever the certificate."""
    parts = urlsplit(url)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    try:
        opening = asyncio.open_connection(parts.hostname, parts.port or 80, ssl=anyone)
        _, writer = await asyncio.wait_for(opening, HANDSHAKE_SECONDS)
    except ssl.SSLError as error:  # it answers with an alert, for example without a client's key
        return (error.reason or "").startswith(("TLSV1_ALERT", "TLSV13_ALERT", "SSLV3_ALERT"))
    except (OSError, asyncio.TimeoutError):
        return False
    writer.transport.abort()
    return True
