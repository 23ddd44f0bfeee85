"""The chat client for all OpenAI-compatible servers, with its retry policy.

It works with `vllm serve`, `swift deploy`, SGLang and vllm-ascend. Not here: prompts, the reading
of replies (`prompted_engine`, `replies`, `verdicts`), connections (`transport`), and the options
that a server accepts (`adapted_requests`).
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.adapted_requests import AdaptedRequests, Request
from rlkd_plugin.llm_io.endpoint import Endpoint, words_of
from rlkd_plugin.llm_io.event_stream import StreamedReply
from rlkd_plugin.llm_io.listener import Listener, without_keys
from rlkd_plugin.llm_io.option_search import TRIAL_TOKENS, RejectedRequest
from rlkd_plugin.llm_io.pace import Pace
from rlkd_plugin.llm_io.replies import Reply, read_embeddings, read_reply
from rlkd_plugin.llm_io.request_options import NEUTRAL, Change
from rlkd_plugin.llm_io.servers import Servers, TransientError

CHARS_PER_TOKEN = 4
"""Estimate for English, until the server reports a count; other languages have fewer."""
BACK_OFF = wait_random_exponential(multiplier=0.5, max=20)
"""Jittered, so that the requests of a batch are not retried all at once."""
STREAM_TRIES = 3
"""Failed streams of one text after which a server that never streamed well gets no more of them."""
EMPTY_TRIES = 4
"""Empty completions of one text after which the server is probed with another text."""

Message = dict[str, str]
PROBE: list[Message] = [{"role": "user", "content": "Is 1 + 1 = 2? Answer yes or no."}]
SHORT_QUESTIONS = {
    "chat/completions": {"messages": PROBE},
    "embeddings": {"input": [PROBE[0]["content"]]},
}
"""Short questions, by path, to test options independently of the text."""
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    """A request, the servers to try in turn, and how to read a reply.

    `read` returns the reply and the tokens it cost, 0 if the server does not count them; `likely`
    is an estimate of them. `listener` receives a streamed reply.
    """

    path: str
    request: Request
    urls: Sequence[str]
    read: Callable[[str, bytes], tuple[T, int]]
    likely: float
    listener: Listener | None = None


class ChatClient:
    """Sends chat requests to one endpoint; entered with `async with` in each event loop.

    It may be entered several times at once, in one loop or in several; users in one loop share
    connections. Only plain facts pass from one loop or process to another.

    Args:
        endpoint: the servers and their model.
        request_timeout: seconds for one try.
        patience: the retry deadline: seconds from a request's first failure.
        startup_patience: the retry deadline until one of the request's servers has answered.
        usage: counts requests, retries and tokens.
        pace: the rate limits; by default none.
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
        self._next_url = 0
        self._servers = Servers(endpoint, request_timeout, usage)
        self._requests = AdaptedRequests(endpoint)
        self._streamed: set[str] = set()  # servers that streamed a complete reply

    async def __aenter__(self) -> "ChatClient":
        self._servers.open()
        self._requests.open()
        self.pace.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.pace.close()
        self._requests.close()
        await self._servers.close()

    @property
    def refused_options(self) -> Mapping[str, Mapping[str, str]]:
        """The options that each server rejects, by its URL, with its message."""
        return self._requests.known.refused

    def option_changes(self, url: str) -> Mapping[str, Change]:
        """Return the changes for the options that a server rejects, by option."""
        return self._requests.known.changes(url)

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
        listener: Listener | None = None,
        **options: Any,
    ) -> Reply:
        """Return the first choice of a completion.

        If it is cancelled, the request is closed, and the server stops generating.

        Args:
            messages: the chat.
            urls: the servers to try; by default all of the endpoint.
            may_be_empty: whether a reply without any text is accepted.
            listener: receives the text while it is being written, if the server streams; it is
                restarted if a try fails.
            **options: further keys of the request body: `max_tokens`, `temperature` ...; keys of
                `NEUTRAL` that neither they nor the endpoint set are sent with their neutral value.

        Raises:
            EndpointError: if the endpoint rejects the request (`status` says how), is unknown, or
                fails past the retry deadline.
        """
        streamed = STREAMED if listener else {}
        body = self._chat(messages, **streamed, **options)

        def read(url: str, payload: bytes) -> tuple[Reply, int]:
            reply = self._completion(url, payload, may_be_empty)
            return reply, reply.prompt_tokens + reply.completion_tokens

        return await self._send("chat/completions", body, urls, read, listener)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text.

        Raises:
            EndpointError: as `complete`.
        """
        body = {"model": self.endpoint.model, "input": list(texts), **self.endpoint.body}

        def read(url: str, payload: bytes) -> tuple[list[list[float]], int]:
            try:
                vectors, tokens = read_embeddings(payload, len(texts))
            except ValueError as error:
                words = self._servers.keys.redact_error(str(error))
                raise self._servers.transient(
                    url, f"a reply without the embeddings: {words}"
                ) from None
            self.usage.add(prompt_tokens=tokens)
            return vectors, tokens

        return await self._send("embeddings", body, (), read)

    def _chat(self, messages: Sequence[Message], **options: Any) -> dict[str, Any]:
        """Return the unchanged body of a chat request; the user's own keys have priority."""
        return {
            "model": self.endpoint.model,
            "messages": messages,
            **NEUTRAL,
            **options,
            **self.endpoint.body,
        }

    async def _send(
        self,
        path: str,
        content: dict[str, Any],
        urls: Sequence[str],
        read: Callable[[str, bytes], tuple[T, int]],
        listener: Listener | None = None,
    ) -> T:
        """Send a request until a server answers it, within the retry deadline."""
        if not urls:
            urls = self._servers.best_first(self.endpoint.urls, self._next_url)
            self._next_url += 1  # servers take turns
        request = Request.of(content)
        likely = len(request.body) / CHARS_PER_TOKEN + content.get("max_tokens", 0)
        call = _Call(path, request, urls, read, likely, listener)
        await self.pace.turn(likely)
        try:  # nearly every first try succeeds, and tenacity's loop costs a quarter of a request
            return await self._try(call, urls[0])
        except TransientError as failure:
            return await self._retry(call, failure)

    async def _retry(self, call: _Call[T], first: TransientError) -> T:
        """Send a request whose first try failed until a server answers it."""
        urls = call.urls
        failing_since = time.monotonic()
        empty = Counter([first.url] if first.empty else [])
        unread = Counter([first.url] if first.in_stream else [])

        def give_up(state: RetryCallState) -> bool:
            patience = self.startup_patience
            if not self._servers.answered.isdisjoint(urls):
                patience = self.patience
            return time.monotonic() + state.upcoming_sleep - failing_since > patience

        url = ""

        def wait(state: RetryCallState) -> float:
            nonlocal url
            url = self._servers.best_first(urls, state.attempt_number)[0]
            asks = self._servers.asked_wait(url)
            at_once = state.attempt_number < len(urls) and not asks  # the next server first
            return 0.0 if at_once else asks + BACK_OFF(state)

        tries = AsyncRetrying(
            retry=retry_if_exception_type(TransientError), wait=wait, stop=give_up, reraise=True
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
                    except TransientError as failure:
                        empty[url] += failure.empty
                        unread[url] += failure.in_stream
                        if unread[url] == STREAM_TRIES and url not in self._streamed:
                            self._requests.drop_option(url, "stream", str(failure))
                        is_silent = failure.empty and empty[url] >= EMPTY_TRIES
                        if is_silent and await self._answers_probe(url):
                            raise self._silence_error(url) from None
                        raise
        except TransientError as failure:
            raise self._deadline_error(urls, failure, time.monotonic() - failing_since) from None
        raise AssertionError("unreachable: the loop returns or raises")

    async def _try(self, call: _Call[T], url: str) -> T:
        """Send a request to a server, with its options adapted."""
        is_first = True

        async def send(body: bytes) -> T:
            nonlocal is_first
            if not is_first:
                await self.pace.turn(call.likely)
            is_first = False
            return await self._try_once(call, url, body)

        async def ask(content: dict[str, Any]) -> RejectedRequest | None:
            body = json.dumps({**content, **SHORT_QUESTIONS[call.path]}).encode()
            await self.pace.turn(len(body) / CHARS_PER_TOKEN + TRIAL_TOKENS)
            try:
                await self._servers.post(url, call.path, body)
            except RejectedRequest as rejection:
                return rejection
            return None

        try:
            reply = await self._requests.send(url, call.request, send, ask)
        except RejectedRequest as rejection:
            raise rejection.error from None
        self._servers.answered.add(url)
        return reply

    async def _try_once(self, call: _Call[T], url: str, body: bytes) -> T:
        """Send a body to a server once, and report its tokens to the pace."""
        used = 0.0
        stream = None
        if call.listener:
            stream = StreamedReply(without_keys(self._servers.keys, call.listener))
        try:
            payload = await self._servers.post(url, call.path, body, stream)
            reply, counted = call.read(url, payload)
            used = counted or call.likely
            if stream and stream.is_used:
                self._streamed.add(url)
        except (TransientError, RejectedRequest, EndpointError) as failure:
            if call.listener:  # the text so far is invalid, also while a retry waits
                call.listener.restart()
            if isinstance(failure, TransientError):
                failure.in_stream = bool(stream and stream.is_used)
            raise
        except asyncio.CancelledError:  # servers report no tokens of a cancelled reply
            used = (len(body) + (stream.characters if stream else 0)) / CHARS_PER_TOKEN
            raise
        finally:
            self.pace.settle(used - call.likely)
        return reply

    async def _answers_probe(self, url: str) -> bool:
        """Return whether a server replies to another text with any text."""
        request = Request.of(self._chat(PROBE, max_tokens=1, temperature=0))
        body = request.body_for(self._requests.known.changes(url))
        try:
            payload = await self._servers.post(url, "chat/completions", body)
            return bool(self._completion(url, payload, may_be_empty=True).text)
        except (TransientError, EndpointError, RejectedRequest):
            return False

    def _silence_error(self, url: str) -> EndpointError:
        return EndpointError(
            f"the {self.endpoint.role} at {url} returns empty completions for this text, after "
            f"{EMPTY_TRIES} tries or more, but not for another text",
            status=422,
        )

    def _deadline_error(
        self, urls: Sequence[str], failure: TransientError, seconds: float
    ) -> EndpointError:
        patience = "STARTUP_PATIENCE" if self._servers.answered.isdisjoint(urls) else "PATIENCE"
        asks = f" (its Retry-After asks for {failure.wait:.0f} s)" if failure.wait else ""
        return EndpointError(
            f"the {self.endpoint.role} at {failure.url} has failed for {seconds:.0f} s{asks}, "
            f"longer than RLKD_{patience} allows: {failure}. Check that the server of "
            f"{self.endpoint.variable('BASE_URL')} is up and has loaded its model"
        )

    def _completion(self, url: str, payload: bytes, may_be_empty: bool) -> Reply:
        keys = self._servers.keys
        try:
            reply = read_reply(payload)
        except ValueError:
            self._servers.check_for_error(url, payload)
            payload = keys.redact_body(payload, is_error=True)
            raise self._servers.transient(
                url, f"a reply that is no completion: {words_of(payload)}"
            ) from None
        self.usage.add(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        # a key may have been split over several parts of a message
        said, thought = keys.redact(reply.text), keys.redact(reply.thinking)
        if (said, thought) != (reply.text, reply.thinking):
            reply = replace(reply, text=said, thinking=thought)
        if reply.finish_reason in ("abort", "error"):
            raise self._servers.transient(
                url, f"a completion that ended with {reply.finish_reason!r}"
            )
        if reply.finish_reason == "content_filter":
            raise EndpointError(f"the content filter of {url} rejects this text", status=422)
        if not (reply.text or reply.tokens or reply.thinks or may_be_empty):
            by_model = reply.finish_reason == "stop" and reply.completion_tokens > 0
            raise self._servers.transient(url, "an empty completion", empty=by_model)
        return reply
