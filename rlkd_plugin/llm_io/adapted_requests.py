"""Adapts requests to each server: options that the server rejects are dropped or changed.

All requests to a server share what one of them has learned. Not here: the search for the rejected
option (`option_search`), and how a request is sent (`chat_client`).
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.option_search import OptionSearch, RejectedRequest, SearchResult
from rlkd_plugin.llm_io.per_loop import PerLoop
from rlkd_plugin.llm_io.request_options import (
    LIMITS,
    Change,
    apply_changes,
    is_about_length,
    named_options,
    options_of,
)
from rlkd_plugin.llm_io.server_options import ServerOptions

T = TypeVar("T")
Send = Callable[[bytes], Awaitable[T]]
Ask = Callable[[dict[str, Any]], Awaitable[RejectedRequest | None]]

MOST_ROUNDS = 4
"""Most tries of one request while the options of its server are being learned."""
FAILING = frozenset({"server error"})
"""Added to the options of a request if the server accepts them, but failed at the request."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request before any change: the plain question and its options."""

    content: dict[str, Any]
    body: bytes
    options: frozenset[str]

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Request":
        """Return the request with this content."""
        return cls(content, json.dumps(content).encode(), frozenset(options_of(content)))

    def body_for(self, changes: Mapping[str, Change]) -> bytes:
        """Return the body for a server that needs these changes."""
        return json.dumps(apply_changes(self.content, changes)).encode() if changes else self.body


class AdaptedRequests:
    """The requests of one endpoint; a pickled copy keeps what is known of the servers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.known = ServerOptions()
        self._searching: PerLoop[defaultdict[str, asyncio.Lock]] = PerLoop()

    def open(self) -> None:
        """Start use in the running event loop."""
        self._searching.enter(lambda: defaultdict(asyncio.Lock))

    def close(self) -> None:
        """End one use in the running event loop."""
        self._searching.leave()

    async def send(self, url: str, request: Request, send: Send[T], ask: Ask) -> T:
        """Return a server's reply to a request, changed if the server rejects an option.

        Args:
            url: the server.
            request: to send.
            send: sends a body once; raises RejectedRequest.
            ask: sends a short question with given options; returns its rejection, if any.

        Raises:
            RejectedRequest: if the text is at fault.
        """
        for number in range(MOST_ROUNDS):
            changes = self.known.changes(url)
            try:
                reply = await send(request.body_for(changes))
            except RejectedRequest as rejection:
                if number + 1 == MOST_ROUNDS:
                    raise
                if self.known.changes(url) is not changes:
                    continue  # another request has learned something meanwhile
                if self._is_text_at_fault(url, request, rejection):
                    return await self._send_without_limit(url, request, rejection, send)
                async with self._searching.here[url]:
                    if self.known.changes(url) is not changes:
                        continue
                    if self._is_text_at_fault(url, request, rejection):
                        raise
                    found = await self._search(url, request, rejection, send, ask)
                if found.reply is not None:
                    return found.reply
            else:
                self.known.vouch(url, request.options)
                return reply
        raise AssertionError("unreachable: the last round returns or raises")

    def drop_option(self, url: str, option: str, words: str) -> None:
        """Drop an option that does not work from all further requests to a server."""
        changes = {option: Change(option, words)}
        self.known.learn(url, changes)
        self._report(url, changes)

    async def _send_without_limit(
        self, url: str, request: Request, rejection: RejectedRequest, send: Send[T]
    ) -> T:
        """Return the reply to a long text, sent without the token limit that does not fit.

        It is used if the rejection names the limit. Without a limit the server uses the room that
        is left. Nothing is remembered, as a shorter text leaves enough room.

        Raises:
            RejectedRequest: if the text itself is too long, or rejected for another reason.
        """
        sent = apply_changes(request.content, self.known.changes(url))
        unlimited = {key: value for key, value in sent.items() if key not in LIMITS}
        named = set(named_options(rejection.text, sent))
        if named.isdisjoint(LIMITS) or not is_about_length(rejection.text, sent):
            raise rejection
        try:
            return await send(json.dumps(unlimited).encode())
        except RejectedRequest:
            raise rejection from None

    def _is_text_at_fault(self, url: str, request: Request, rejection: RejectedRequest) -> bool:
        """Return whether the text must be at fault, and not an option."""
        sent = apply_changes(request.content, self.known.changes(url))
        if not request.options or is_about_length(rejection.text, sent):
            return True
        is_named = bool(named_options(rejection.text, sent))
        if rejection.is_doubtful:
            return not is_named or self.known.are_vouched(url, request.options | FAILING)
        return not is_named and self.known.are_vouched(url, request.options)

    async def _search(
        self, url: str, request: Request, rejection: RejectedRequest, send: Send[T], ask: Ask
    ) -> SearchResult[T]:
        """Find the options of a request that a server rejects, and remember them."""

        async def send_changed(content: dict[str, Any]) -> T:
            return await send(json.dumps(content).encode())

        search = OptionSearch(request.content, self.known.changes(url), send_changed, ask)
        try:
            found = await search.run(rejection)
        except RejectedRequest:
            if search.has_tried or rejection.is_doubtful:  # the options are not at fault
                failing = FAILING if rejection.is_doubtful else frozenset[str]()
                self.known.vouch(url, request.options | failing)
            raise
        if found.changes:
            self.known.learn(url, found.changes)
            self._report(url, found.changes)
        return found

    def _report(self, url: str, changes: Mapping[str, Change]) -> None:
        """Log once which options a server rejects, with its message."""
        role = self.endpoint.role
        for words in dict.fromkeys(change.words for change in changes.values()):
            done = [change for change in changes.values() if change.words == words]
            asked = [change.option for change in done if change.option in self.endpoint.body]
            by = f" ({self.endpoint.variable('BODY')} sets {', '.join(asked)})" if asked else ""
            what = ", ".join(map(str, done))
            logger.warning(
                f"rlkd: the {role} at {url} rejects an option, so {what} in requests to it{by}: "
                f"{words}"
            )
