"""One chat client for every OpenAI-compatible server: what is retried, and what ends a run.

It works with `vllm serve`, `swift deploy`, SGLang and vllm-ascend. Not here: the prompts, and how
a reply is read (`prompted_engine`, `replies`, `verdicts`).
"""

import asyncio
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.endpoint import Endpoint, without_key, words_of
from rlkd_plugin.llm_io.pace import Pace
from rlkd_plugin.llm_io.per_loop import PerLoop
from rlkd_plugin.llm_io.replies import Reply, read_embeddings, read_reply, seconds_to_wait

RETRIED = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses of transient errors; 400, 413, 422 are tied to the text, others end the run."""
CHARS_PER_TOKEN = 4
"""Estimate until the server has counted; only `RLKD_TOKENS_PER_MINUTE` needs it."""
BACK_OFF = wait_random_exponential(multiplier=0.5, max=20)
"""Jittered, so that a batch's requests do not return to a server all at once."""
EMPTY_TRIES = 4
"""Empty completions of one text after which the server is probed with another text."""
DOUBTFUL_SECONDS = 30.0
"""Seconds an unresponsive server is tried last."""
SHORTEST_KEY = 12
"""Characters of a key that is blotted out of replies. A shorter one is a placeholder, as `EMPTY`,
and may be a word of a structure."""
WARN_EVERY = 10.0
"""Seconds between two warnings of a client that retries."""

Message = dict[str, str]
PROBE: list[Message] = [{"role": "user", "content": "Is 1 + 1 = 2? Answer yes or no."}]
T = TypeVar("T")

logger = logging.getLogger(__name__)


class _TransientError(Exception):
    """A failure that a retry may mend.

    `wait` is the server's Retry-After in seconds; `empty` says that the model wrote nothing.
    """

    def __init__(self, url: str, reason: str, wait: float, empty: bool) -> None:
        super().__init__(reason)
        self.url = url
        self.wait = wait
        self.empty = empty


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    """A request, the servers to try in turn, and how to read a reply.

    `read` returns the reply and the tokens that it cost, 0 where a server does not count them;
    `likely` is the estimate of their number.
    """

    path: str
    body: bytes
    urls: Sequence[str]
    read: Callable[[str, bytes], tuple[T, int]]
    likely: float


class ChatClient:
    """Sends chat requests to one endpoint; entered with `async with` in each event loop.

    It may be entered several times at once, in one loop, whose users share their connections, or
    in several. Only plain facts go from one loop to another: which servers ever answered, which
    ask to wait, and which did not respond lately.

    Args:
        endpoint: the servers and their model.
        request_timeout: seconds for one try.
        patience: the retry deadline: seconds from a request's first failure.
        startup_patience: the same until one of the request's servers has answered once.
        usage: counts requests, retries and tokens.
        pace: the rates to keep; by default none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        request_timeout: float,
        patience: float,
        startup_patience: float,
        usage: Usage,
        pace: Pace | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.request_timeout = request_timeout
        self.patience = patience
        self.startup_patience = startup_patience
        self.usage = usage
        self.pace = pace or Pace()
        self._answered: set[str] = set()
        self._free_at: dict[str, float] = {}  # what Retry-After asked for
        self._doubtful_until: dict[str, float] = {}
        self._next_url = 0
        self._warned = float("-inf")
        self._sessions: PerLoop[aiohttp.ClientSession] = PerLoop()

    async def __aenter__(self) -> "ChatClient":
        key = os.environ.get(self.endpoint.api_key_env, "").strip()  # a file's line end
        if not (key.isascii() and key.isprintable()):
            raise EndpointError(
                f"the API key in the variable that {self.endpoint.named_key} names has a line "
                "break or another character that no HTTP header can hold"
            )
        self._key = key or None
        self.pace.open()
        self._sessions.enter(self._new_session)
        return self

    def _new_session(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the engine bounds what is in flight
            timeout=aiohttp.ClientTimeout(total=self.request_timeout, sock_connect=10),
            headers=headers,
        )

    async def __aexit__(self, *error: object) -> None:
        self.pace.close()
        if session := self._sessions.leave():
            await session.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to an event loop, and the key."""
        return {k: v for k, v in vars(self).items() if k != "_key"}

    async def probe(self) -> None:
        """Send each server one short request.

        Raises:
            EndpointError: if one cannot be used.
        """
        for url in self.endpoint.urls:
            await self.complete(PROBE, urls=(url,), may_be_empty=True, max_tokens=1, temperature=0)

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        urls: Sequence[str] = (),
        may_be_empty: bool = False,
        **options: Any,
    ) -> Reply:
        """Return the first choice of a completion.

        Args:
            messages: the chat.
            urls: the servers to try; by default all of the endpoint.
            may_be_empty: whether a reply without any text is accepted.
            **options: further keys of the request body: `max_tokens`, `temperature` ...

        Raises:
            EndpointError: if the endpoint rejects the request (`status` says how), is unknown, or
                fails past the retry deadline.
        """
        body = {"model": self.endpoint.model, "messages": messages, **options}

        def read(url: str, payload: bytes) -> tuple[Reply, int]:
            reply = self._completion(url, payload, may_be_empty)
            return reply, reply.prompt_tokens + reply.completion_tokens

        return await self._send("chat/completions", body, urls, read)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text.

        Raises:
            EndpointError: as `complete`.
        """
        body = {"model": self.endpoint.model, "input": list(texts)}

        def read(url: str, payload: bytes) -> tuple[list[list[float]], int]:
            try:
                vectors, tokens = read_embeddings(payload, len(texts))
            except ValueError as error:
                raise self._transient(url, f"a reply without the embeddings: {error}") from None
            self.usage.add(prompt_tokens=tokens)
            return vectors, tokens

        return await self._send("embeddings", body, (), read)

    async def _send(
        self,
        path: str,
        request: dict[str, Any],
        urls: Sequence[str],
        read: Callable[[str, bytes], tuple[T, int]],
    ) -> T:
        """Send a request until a server answers it, within the retry deadline."""
        if not urls:
            urls = self._best_first(self.endpoint.urls, self._next_url)
            self._next_url += 1  # servers take turns
        body = json.dumps(request).encode()
        likely = len(body) / CHARS_PER_TOKEN + request.get("max_tokens", 0)
        call = _Call(path, body, urls, read, likely)
        await self.pace.turn(likely)
        try:  # nearly every first try succeeds; tenacity's loop takes a quarter of a request's time
            return await self._try(call, urls[0])
        except _TransientError as failure:
            return await self._retry(call, failure)

    async def _retry(self, call: _Call[T], first: _TransientError) -> T:
        """Send a request whose first try failed until a server answers it."""
        urls = call.urls
        failing_since = time.monotonic()
        empty = Counter([first.url] if first.empty else [])

        def give_up(state: RetryCallState) -> bool:
            patience = self.startup_patience
            if not self._answered.isdisjoint(urls):
                patience = self.patience
            return time.monotonic() + state.upcoming_sleep - failing_since > patience

        url = ""

        def wait(state: RetryCallState) -> float:
            nonlocal url
            url = self._best_first(urls, state.attempt_number)[0]
            asks = max(0.0, self._free_at.get(url, 0.0) - time.monotonic())
            at_once = state.attempt_number < len(urls) and not asks  # the next server first
            return 0.0 if at_once else asks + BACK_OFF(state)

        tries = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError), wait=wait, stop=give_up, reraise=True
        )
        try:
            async for attempt in tries:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    if number == 1:
                        raise first
                    self.usage.add(retries=1)
                    failing_since += await self.pace.turn(call.likely)  # no server's fault
                    try:
                        return await self._try(call, url)
                    except _TransientError as failure:
                        empty[url] += failure.empty
                        is_silent = failure.empty and empty[url] >= EMPTY_TRIES
                        if is_silent and await self._answers_probe(url):
                            raise self._silence_error(url) from None
                        raise
        except _TransientError as failure:
            raise self._deadline_error(urls, failure, time.monotonic() - failing_since) from None
        raise AssertionError("unreachable: the loop returns or raises")

    async def _try(self, call: _Call[T], url: str) -> T:
        """Send a request to a server once, and settle its tokens with the pace."""
        used = 0.0
        try:
            reply, counted = call.read(url, await self._post(url, call.path, call.body))
            used = counted or call.likely
        finally:
            self.pace.settle(used - call.likely)
        self._answered.add(url)
        return reply

    def _best_first(self, urls: Sequence[str], turn: int) -> Sequence[str]:
        """Return servers in turn, those that ask to wait or did not respond lately at the end."""
        if len(urls) == 1:
            return urls
        at = turn % len(urls)
        now = time.monotonic()

        def wait(url: str) -> float:
            until = max(self._free_at.get(url, 0.0), self._doubtful_until.get(url, 0.0))
            return max(0.0, until - now)

        return sorted([*urls[at:], *urls[:at]], key=wait)

    async def _answers_probe(self, url: str) -> bool:
        """Return whether a server writes anything to another text."""
        body = {"model": self.endpoint.model, "messages": PROBE, "max_tokens": 1, "temperature": 0}
        try:
            payload = await self._post(url, "chat/completions", json.dumps(body).encode())
            return bool(self._completion(url, payload, may_be_empty=True).text)
        except (_TransientError, EndpointError):
            return False

    def _silence_error(self, url: str) -> EndpointError:
        return EndpointError(
            f"the {self.endpoint.role} at {url} says nothing to one text each time, but speaks "
            "otherwise",
            status=422,
        )

    def _deadline_error(
        self, urls: Sequence[str], failure: _TransientError, seconds: float
    ) -> EndpointError:
        patience = "STARTUP_PATIENCE" if self._answered.isdisjoint(urls) else "PATIENCE"
        asks = f" (its Retry-After asks for {failure.wait:.0f} s)" if failure.wait else ""
        return EndpointError(
            f"the {self.endpoint.role} at {failure.url} has failed for {seconds:.0f} s{asks}, "
            f"longer than RLKD_{patience} allows: {failure}. Is the server of "
            f"{self.endpoint.variable('BASE_URL')} up, and done loading?"
        )

    async def _post(self, url: str, path: str, body: bytes) -> bytes:
        """Send one request once, and return the body of a 200 reply."""
        self.usage.add(requests=1)
        try:
            async with self._sessions.here.post(f"{url}/{path}", data=body) as response:
                payload = await response.read()
                status, headers = response.status, response.headers
        except aiohttp.ClientConnectorDNSError as error:
            if url not in self._answered:  # later on, a name server may fail for a while
                raise EndpointError(
                    f"the host of {url} is unknown; correct {self.endpoint.variable('BASE_URL')}"
                ) from None
            raise self._transient(url, f"host not found, {error.os_error}") from None
        except asyncio.TimeoutError:
            self._doubtful_until[url] = time.monotonic() + DOUBTFUL_SECONDS
            raise self._transient(
                url, f"no answer in {self.request_timeout:g} s (RLKD_REQUEST_TIMEOUT)"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            self._doubtful_until[url] = time.monotonic() + DOUBTFUL_SECONDS
            raise self._transient(url, f"{type(error).__name__}: {error}") from None
        if status == 429 and b"insufficient_quota" not in payload:
            self._answered.add(url)  # it is up
        elif status == 429 or status not in (200, *RETRIED):
            raise EndpointError(self.endpoint.refusal(url, status, payload, self._key), status)
        if status != 200:
            seconds = seconds_to_wait(headers.get("Retry-After"))
            self._free_at[url] = time.monotonic() + seconds
            raise self._transient(url, f"HTTP {status}: {words_of(payload, self._key)}", seconds)
        return payload

    def _completion(self, url: str, payload: bytes, may_be_empty: bool) -> Reply:
        try:
            reply = read_reply(payload)
        except ValueError:
            raise self._transient(
                url, f"a reply that is no completion: {words_of(payload, self._key)}"
            ) from None
        self.usage.add(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        if self._key and len(self._key) >= SHORTEST_KEY:  # a proxy may repeat what it was sent
            said, thought = (without_key(t, self._key) for t in (reply.text, reply.thinking))
            reply = replace(reply, text=said, thinking=thought)
        if reply.finish_reason in ("abort", "error"):
            raise self._transient(url, f"a completion that ended with {reply.finish_reason!r}")
        if reply.finish_reason == "content_filter":
            raise EndpointError(f"the content filter of {url} takes offence at a text", status=422)
        if not (reply.text or reply.tokens or reply.thinks or may_be_empty):
            by_model = reply.finish_reason == "stop" and reply.completion_tokens > 0
            raise self._transient(url, "an empty completion", empty=by_model)
        return reply

    def _transient(
        self, url: str, reason: str, wait: float = 0.0, *, empty: bool = False
    ) -> _TransientError:
        """Return the error of a try that failed, and warn of it once in `WARN_EVERY` seconds."""
        reason = without_key(reason, self._key)  # a server's broken header may hold it
        if time.monotonic() - self._warned > WARN_EVERY:
            self._warned = time.monotonic()
            logger.warning("rlkd: the %s at %s: %s; retrying", self.endpoint.role, url, reason)
        return _TransientError(url, reason, wait, empty)
