"""How a request reaches a server once: connections, the key, proxies, certificates, time-outs.

Nothing that comes back through here holds one of our keys. Not here: what a reply means, and what
is retried (`chat_client`).
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
"""Seconds for a connection; a server that is up takes milliseconds."""
MOST_BYTES = 64 * 2**20
"""Bytes of a reply; one that is longer has no end."""
REST_SECONDS = 0.2
"""Seconds for the end of a body behind its completion; then its connection is not used again."""
REST_LOOK = 0.005
"""Seconds between two looks for it; mostly it is there at the first."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """What came back, whatever it means; the payload is cleansed of our keys."""

    status: int
    headers: Mapping[str, str]
    payload: bytes


class Transport:
    """The connections to an endpoint's servers, for all who use them in one event loop.

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
        """Belong to the running event loop; `key` is the servers', or empty.

        Raises:
            EndpointError: if a variable names a proxy that cannot be used.
        """
        self.proxies = {url: proxy_for(url) for url in self.endpoint.urls}
        self.keys = own_keys(self.endpoint.api_key_env)
        self._sessions.enter(lambda: self._new_session(key))

    async def close(self) -> None:
        """Belong to the running event loop no more, if this was its last user."""
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

        Where it is cancelled before the reply is there, the connection is closed.

        Args:
            url: the server.
            path: of the request.
            body: of the request.
            is_known: whether the server answered before.
            stream: takes the reply if the server streams it; the payload is empty then.

        Raises:
            ConnectionFault: if there is no reply, or one without an end.
            asyncio.TimeoutError: if there is none in time.
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
                    stream.feed(payload)  # labelled as something else
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
        """Leave behind the proxies, which hold passwords; they are read anew."""
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
    """Hand a body on as it comes, up to the end of its completion."""
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
    """Take what comes at once behind a completion: its usage, and the end of the body.

    At the body's end the connection is kept for another request.
    """
    until = time.monotonic() + REST_SECONDS
    while not content.at_eof() and time.monotonic() < until:
        stream.feed(content.read_nowait())
        await asyncio.sleep(REST_LOOK)


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ConnectionFault(f"a reply of more than {MOST_BYTES:,} bytes, which has no end")


def certificates_for(urls: Sequence[str]) -> ssl.SSLContext | bool:
    """Return the certificates to trust: those of `SSL_CERT_FILE` as it is now.

    aiohttp's own context is made when it is imported, before a run's variables may be set. Without
    a server that speaks TLS none is made.
    """
    has_tls = any(url.startswith("https:") for url in urls)
    return ssl.create_default_context() if has_tls else True
