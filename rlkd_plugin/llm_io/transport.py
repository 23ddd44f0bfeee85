"""Sends a request once: connections, the key, proxies, certificates, time-outs.

Our keys are removed from all replies and errors. Not here: the meaning of a reply, and retries
(`chat_client`).
"""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from rlkd_plugin.llm_io.connection_faults import ConnectionFault, fault_of
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.event_stream import StreamedReply
from rlkd_plugin.llm_io.own_keys import OwnKeys, own_keys
from rlkd_plugin.llm_io.per_loop import PerLoop
from rlkd_plugin.llm_io.proxies import Proxy, proxy_for

EVENT_STREAM = "text/event-stream"
EVENTS_BEGIN = (b"data:", b"event:", b": ")
CONNECT_SECONDS = 10
"""Seconds to connect; a server that is up takes milliseconds."""
MOST_BYTES = 64 * 2**20
"""Most bytes of a reply; a longer one is endless."""
REST_SECONDS = 0.2
"""Seconds to wait for the end of a body after its completion, to reuse the connection."""
REST_LOOK = 0.005
"""Seconds between two checks for this end; mostly the first one succeeds."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """An uninterpreted reply; our keys are removed from the payload."""

    status: int
    headers: Mapping[str, str]
    payload: bytes


class Transport:
    """The connections to an endpoint's servers, shared in each event loop.

    Args:
        endpoint: the servers.
        timeout: seconds for one request.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.proxies: dict[str, Proxy | None] = {}
        self.keys = OwnKeys()
        self._sessions: PerLoop[aiohttp.ClientSession] = PerLoop()

    def open(self, key: str) -> None:
        """Start use in the running event loop; `key` is the servers' key, or empty.

        Raises:
            EndpointError: if a variable does not hold an HTTP proxy.
        """
        self.proxies = {url: proxy_for(url) for url in self.endpoint.urls}
        self.keys = own_keys(self.endpoint.api_key_env)
        self._sessions.enter(lambda: self._new_session(key))

    async def close(self) -> None:
        """End one use in the running event loop."""
        if session := self._sessions.leave():
            await session.close()

    def _new_session(self, key: str) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the engine bounds what is in flight
                ssl=certificates_for(self.endpoint.urls),
            ),
            timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECT_SECONDS),
            headers=headers,
        )

    async def post(
        self, url: str, path: str, body: bytes, is_known: bool, stream: StreamedReply | None = None
    ) -> RawReply:
        """Send one request once.

        If it is cancelled before the reply is complete, the connection is closed.

        Args:
            url: the server.
            path: of the request.
            body: of the request.
            is_known: whether the server answered before.
            stream: receives the reply if the server streams it; the payload is then empty.

        Raises:
            ConnectionFault: if there is no reply, or an endless one.
            asyncio.TimeoutError: if there is no reply in time.
        """
        proxy = self.proxies[url]
        try:
            async with self._sessions.here.post(
                f"{url}/{path}", data=body, proxy=proxy and proxy.address
            ) as response:
                status = response.status
                if stream and status == 200 and response.content_type == EVENT_STREAM:
                    await _read_stream(response.content, stream)
                    return RawReply(status, response.headers, b"")
                payload = await _read_whole(response.content)
                if stream and status == 200 and payload.lstrip().startswith(EVENTS_BEGIN):
                    stream.feed(payload)  # a stream with another content type
                    stream.end()
                    return RawReply(status, response.headers, b"")
                payload = self.keys.redact_body(payload, is_error=status != 200)
                return RawReply(status, response.headers, payload)
        except (asyncio.TimeoutError, ConnectionFault):
            raise
        except (aiohttp.ClientError, OSError) as error:
            setting = self.endpoint.variable("BASE_URL")
            fault = await fault_of(error, url, proxy, setting, is_known)
            words = self.keys.redact_error(str(fault))  # it may quote a broken header
            raise ConnectionFault(words, fault.is_final, fault.status) from None

    def __getstate__(self) -> dict[str, Any]:
        """Drop the proxies, which hold passwords; `open` reads them again."""
        return {**vars(self), "proxies": {}}


async def _read_whole(content: aiohttp.StreamReader) -> bytes:
    """Return all of a body."""
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        parts.append(part)
        size += len(part)
        _check_size(size)
    return b"".join(parts)


async def _read_stream(content: aiohttp.StreamReader, stream: StreamedReply) -> None:
    """Pass a body to the stream as it arrives, up to the end of its completion."""
    size = 0
    try:
        while not (stream.is_whole or stream.is_done) and (part := await content.readany()):
            size += len(part)
            _check_size(size)
            stream.feed(part)
        await _read_rest(content, stream)
    except (aiohttp.ClientError, OSError):
        if not stream.is_whole:
            raise
    stream.end()


async def _read_rest(content: aiohttp.StreamReader, stream: StreamedReply) -> None:
    """Read the rest of a body after its completion: the usage, and the end.

    Once the end is read, the connection can be reused.
    """
    until = time.monotonic() + REST_SECONDS
    while not content.at_eof() and time.monotonic() < until:
        stream.feed(content.read_nowait())
        await asyncio.sleep(REST_LOOK)


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ConnectionFault(f"a reply of more than {MOST_BYTES:,} bytes, which is too long")


def certificates_for(urls: Sequence[str]) -> ssl.SSLContext | bool:
    """Return the certificates to trust, from the current `SSL_CERT_FILE`.

    aiohttp creates its own context at import, when the variable may not be set yet. Without an
    https URL no context is created.
    """
    has_tls = any(url.startswith("https:") for url in urls)
    return ssl.create_default_context() if has_tls else True
