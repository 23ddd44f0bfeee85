"""The servers of one endpoint: the result of a request, and the order of servers.

Not here: retries (`chat_client`), and connections (`transport`).
"""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import NoReturn

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.connection_faults import (
    ConnectionFault,
    is_https_complaint,
    proxy_remark,
)
from rlkd_plugin.llm_io.endpoint import Endpoint, words_of
from rlkd_plugin.llm_io.event_stream import StreamedReply
from rlkd_plugin.llm_io.option_search import CERTAIN, RejectedRequest
from rlkd_plugin.llm_io.own_keys import OwnKeys, is_sendable, read_key
from rlkd_plugin.llm_io.replies import seconds_to_wait
from rlkd_plugin.llm_io.transport import RawReply, Transport

RETRY_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses of transient errors; 400, 413, 422 concern the text, others end the run."""
TEXT_ERRORS = (400, 413, 422)
OPTION_ERRORS = (*CERTAIN, 403, 404, 405, 500, 501)
"""Statuses with which servers reject an option; those not in `CERTAIN` only if the option is named.
"You are not allowed to request logprobs from this model" has status 403."""
MOST_WORDS = 20_000
"""Characters of a rejection that are searched for names of options."""
DOUBTFUL_SECONDS = 30.0
"""Seconds an unresponsive server is tried last."""
WARN_EVERY = 10.0
"""Seconds between two warnings about retries."""

logger = logging.getLogger(__name__)


class TransientError(Exception):
    """A failure that a retry may fix.

    `wait` is the server's Retry-After in seconds. `empty` means that the model wrote nothing,
    `in_stream` that the server streamed.
    """

    in_stream = False

    def __init__(self, url: str, reason: str, wait: float, empty: bool) -> None:
        super().__init__(reason)
        self.url = url
        self.wait = wait
        self.empty = empty


class Servers:
    """The servers of an endpoint; entered with its client in each event loop.

    Only plain facts are shared by loops: which servers have answered, which ask to wait, and which
    did not respond recently.

    Args:
        endpoint: the servers.
        timeout: seconds for one request.
        usage: counts requests.
    """

    def __init__(self, endpoint: Endpoint, timeout: float, usage: Usage) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.usage = usage
        self.answered: set[str] = set()
        self._transport = Transport(endpoint, timeout)
        self._free_at: dict[str, float] = {}  # by Retry-After
        self._doubtful_until: dict[str, float] = {}
        self._unstreamed: set[str] = set()
        self._warned = float("-inf")

    def open(self) -> None:
        """Start use in the running event loop.

        Raises:
            EndpointError: if no header can hold the key, or a variable does not hold a proxy.
        """
        key = read_key(self.endpoint.api_key_env)
        if not is_sendable(key):
            raise EndpointError(
                f"the API key in the variable that {self.endpoint.named_key} names has a line "
                "break or another character that no HTTP header can hold"
            )
        self._transport.open(key)

    async def close(self) -> None:
        """End one use in the running event loop."""
        await self._transport.close()

    @property
    def keys(self) -> OwnKeys:
        """The keys to remove from texts of these servers; none before `open`."""
        return self._transport.keys

    def asked_wait(self, url: str) -> float:
        """Return the seconds for which a server asks to wait."""
        return max(0.0, self._free_at.get(url, 0.0) - time.monotonic())

    def best_first(self, urls: Sequence[str], turn: int) -> Sequence[str]:
        """Return servers in turn; those that ask to wait or did not respond recently come last."""
        if len(urls) == 1:
            return urls
        at = turn % len(urls)
        now = time.monotonic()

        def wait(url: str) -> float:
            until = max(self._free_at.get(url, 0.0), self._doubtful_until.get(url, 0.0))
            return max(0.0, until - now)

        return sorted([*urls[at:], *urls[:at]], key=wait)

    async def post(
        self, url: str, path: str, body: bytes, stream: StreamedReply | None = None
    ) -> bytes:
        """Send one body once, and return the body of a 200 reply.

        Args:
            url: the server.
            path: of the request.
            body: of the request.
            stream: receives the reply if the server streams it; the same reply is returned as a
                whole.

        Raises:
            RejectedRequest: if the text or an option may be at fault.
            EndpointError: if the server rejects our requests, or is no model server.
            TransientError: if a retry may succeed.
        """
        self.usage.add(requests=1)
        try:
            reply = await self._transport.post(url, path, body, url in self.answered, stream)
        except asyncio.TimeoutError:
            self._doubtful_until[url] = time.monotonic() + DOUBTFUL_SECONDS
            raise self.transient(
                url, f"no answer in {self.timeout:g} s (RLKD_REQUEST_TIMEOUT)"
            ) from None
        except ConnectionFault as fault:
            if (
                fault.is_final and url not in self.answered
            ):  # after a first answer, a retry may succeed
                raise EndpointError(
                    f"the {self.endpoint.role} at {url}: {fault}", fault.status
                ) from None
            self._doubtful_until[url] = time.monotonic() + DOUBTFUL_SECONDS
            raise self.transient(url, str(fault)) from None
        if reply.status != 200:
            self._raise_for(url, reply)
        if stream is None:
            return reply.payload
        if not stream.is_used:
            self._note_unstreamed(url, body)
            return reply.payload
        if stream.broke_off:
            raise self.transient(
                url, f"a stream that broke off after {stream.characters:,} characters"
            )
        return self.keys.redact_body(stream.body(), is_error=False)

    def _note_unstreamed(self, url: str, body: bytes) -> None:
        """Log once that a server does not stream although it was requested."""
        if b'"stream": true' in body and url not in self._unstreamed:
            self._unstreamed.add(url)
            logger.info(
                "rlkd: the %s at %s does not stream: its replies are read whole, even if a part "
                "would decide the reward",
                self.endpoint.role,
                url,
            )

    def check_for_error(self, url: str, payload: bytes) -> None:
        """Raise the error in a 200 reply, as some gateways send it."""
        code = _code_in(payload)
        if code in TEXT_ERRORS:
            payload = self.keys.redact_body(payload, is_error=True)
            self._raise_for(url, RawReply(code, {}, payload))

    def _raise_for(self, url: str, reply: RawReply) -> NoReturn:
        """Raise the error for a reply that is no completion."""
        status, payload = reply.status, reply.payload
        via = proxy_remark(self._transport.proxies.get(url), url, status)
        error: TransientError | EndpointError
        if is_https_complaint(status, payload):
            setting = self.endpoint.variable("BASE_URL")
            raise EndpointError(f"the port of {url} speaks TLS; write https:// in {setting}")
        is_poor = status == 429 and b"insufficient_quota" in payload
        if status == 429 and not is_poor:
            self.answered.add(url)  # it is up
        if status in RETRY_STATUSES and not is_poor:
            seconds = seconds_to_wait(reply.headers.get("Retry-After"))
            self._free_at[url] = time.monotonic() + seconds
            words = "; ".join(filter(None, (words_of(payload), via)))
            error = self.transient(url, f"HTTP {status}: {words}", seconds)
        else:
            words = self.endpoint.rejection(url, status, payload, via)
            error = EndpointError(words, status)
        if status in OPTION_ERRORS:
            said = payload.decode("utf-8", errors="replace")[:MOST_WORDS]
            raise RejectedRequest(status, said, words_of(payload), error)
        raise error

    def transient(
        self, url: str, reason: str, wait: float = 0.0, *, empty: bool = False
    ) -> TransientError:
        """Return the error of a failed try, and log at most one warning in `WARN_EVERY` seconds."""
        if time.monotonic() - self._warned > WARN_EVERY:
            self._warned = time.monotonic()
            logger.warning("rlkd: the %s at %s: %s; retrying", self.endpoint.role, url, reason)
        return TransientError(url, reason, wait, empty)


def _code_in(payload: bytes) -> int:
    """Return the HTTP status in an error's fields, as a number or a text; 0 without one."""
    try:
        reply = json.loads(payload)
    except (ValueError, RecursionError):
        return 0
    for fields in (reply, reply.get("error")) if isinstance(reply, dict) else ():
        for key in ("code", "status", "status_code", "statusCode"):
            value = str(fields.get(key)) if isinstance(fields, dict) else ""
            if value.isascii() and value.isdigit() and len(value) == 3:
                return int(value)
    return 0
