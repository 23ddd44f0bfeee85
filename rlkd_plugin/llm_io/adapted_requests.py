"""Sends each server what it takes of a request, and learns what that is when it rejects one.

Requests to one server share what one of them finds out. Not here: how an option at fault is found
(`option_search`), and how a request is sent (`chat_client`).
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
    named_options,
    options_of,
    speaks_of_length,
)
from rlkd_plugin.llm_io.server_options import ServerOptions

T = TypeVar("T")
Send = Callable[[bytes], Awaitable[T]]
Ask = Callable[[dict[str, Any]], Awaitable[RejectedRequest | None]]

MOST_ROUNDS = 4
"""Sendings of one request as more becomes known of its server."""
FAILING = frozenset({"server error"})
"""Beside the options of a request at which a server failed that takes them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is meant: the plain question and its options."""

    content: dict[str, Any]
    body: bytes
    options: frozenset[str]

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Request":
        """Return the request that says this."""
        return cls(content, json.dumps(content).encode(), frozenset(options_of(content)))

    def body_for(self, changes: Mapping[str, Change]) -> bytes:
        """Return it as it is sent to a server that needs changes."""
        return json.dumps(apply_changes(self.content, changes)).encode() if changes else self.body


class AdaptedRequests:
    """The requests of one endpoint; what is known of its servers goes along to other processes."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.known = ServerOptions()
        self._searching: PerLoop[defaultdict[str, asyncio.Lock]] = PerLoop()

    def open(self) -> None:
        """Belong to the running event loop."""
        self._searching.enter(lambda: defaultdict(asyncio.Lock))

    def close(self) -> None:
        """Belong to the running event loop no more, if this was its last user."""
        self._searching.leave()

    async def send(self, url: str, request: Request, send: Send[T], ask: Ask) -> T:
        """Return a server's reply to a request, or to what it takes of it.

        Args:
            url: the server.
            request: what it is asked.
            send: sends a body once; raises RejectedRequest.
            ask: sends a short question with other options, and returns why it was rejected.

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
                    continue  # another request found something out meanwhile
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
        """Send a server requests without an option from now on, which does not work there."""
        changes = {option: Change(option, words)}
        self.known.learn(url, changes)
        self._report(url, changes)

    async def _send_without_limit(
        self, url: str, request: Request, rejection: RejectedRequest, send: Send[T]
    ) -> T:
        """Return the reply to a text that leaves less room than the token limit of its request.

        Words that name the limit say so. Without a limit a server takes the room that is left.
        Nothing is remembered: a shorter text has the room.

        Raises:
            RejectedRequest: if the text itself is too long, or at fault for another reason.
        """
        sent = apply_changes(request.content, self.known.changes(url))
        unlimited = {key: value for key, value in sent.items() if key not in LIMITS}
        named = set(named_options(rejection.text, sent))
        if named.isdisjoint(LIMITS) or not speaks_of_length(rejection.text, sent):
            raise rejection
        try:
            return await send(json.dumps(unlimited).encode())
        except RejectedRequest:
            raise rejection from None

    def _is_text_at_fault(self, url: str, request: Request, rejection: RejectedRequest) -> bool:
        """Say whether no option can be at fault."""
        sent = apply_changes(request.content, self.known.changes(url))
        if not request.options or speaks_of_length(rejection.text, sent):
            return True
        is_named = bool(named_options(rejection.text, sent))
        if rejection.is_doubtful:
            return not is_named or self.known.are_vouched(url, request.options | FAILING)
        return not is_named and self.known.are_vouched(url, request.options)

    async def _search(
        self, url: str, request: Request, rejection: RejectedRequest, send: Send[T], ask: Ask
    ) -> SearchResult[T]:
        """Find out what a server does not take of a request, and remember it."""

        async def send_changed(content: dict[str, Any]) -> T:
            return await send(json.dumps(content).encode())

        search = OptionSearch(request.content, self.known.changes(url), send_changed, ask)
        try:
            found = await search.run(rejection)
        except RejectedRequest:
            if search.has_tried or rejection.is_doubtful:  # they are not what it rejects
                failing = FAILING if rejection.is_doubtful else frozenset[str]()
                self.known.vouch(url, request.options | failing)
            raise
        if found.changes:
            self.known.learn(url, found.changes)
            self._report(url, found.changes)
        return found

    def _report(self, url: str, changes: Mapping[str, Change]) -> None:
        """Log once what a server does not take, with its own words."""
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
