"""Finds the options for which a server rejects a request.

If the server names an option, the request is sent without it; success confirms the option. If it
names none, a short question with the same options is sent; success means that the text is at
fault. Not here: how a request is sent (`chat_client`), and what is remembered (`server_options`).
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rlkd_plugin.llm_io.request_options import (
    LIMITS,
    PLAIN,
    Change,
    apply_changes,
    is_about_length,
    named_options,
    options_of,
    smaller_changes,
)

T = TypeVar("T")

MOST_TRIES = 20
"""Most requests in which the options that a server names are changed, one by one."""
TRIAL_TOKENS = 16
"""Token limit of the short question's reply; some servers reject a smaller one."""
CERTAIN = (400, 422)
"""Statuses of a fault in the request: in its text or in an option."""


class RejectedRequest(Exception):
    """A server rejects a request, for its text or for an option.

    Attributes:
        status: one of `CERTAIN`, or one that mostly means something else: 403, 404, 405, or 500 and
            501 from servers that fail at an unknown option.
        text: the server's whole message, without the key.
        words: the beginning of the message.
        error: to raise if no option is at fault.
    """

    def __init__(self, status: int, text: str, words: str, error: Exception) -> None:
        super().__init__(words)
        self.status = status
        self.text = text
        self.words = words
        self.error = error

    @property
    def is_doubtful(self) -> bool:
        """Whether an option can only be at fault if the server names it."""
        return self.status not in CERTAIN


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[T]):
    """The result of a search: the changes to remember, and the reply if there is one."""

    changes: Mapping[str, Change]
    reply: T | None = None


class OptionSearch(Generic[T]):
    """The search for one rejected request to one server.

    Args:
        request: before any change.
        known: the changes that were applied when it was rejected.
        send: sends a changed request; raises RejectedRequest.
        ask: sends the short question with given options; returns its rejection, or None.

    Attributes:
        has_tried: whether the short question was sent with all options.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        known: Mapping[str, Change],
        send: Callable[[dict[str, Any]], Awaitable[T]],
        ask: Callable[[dict[str, Any]], Awaitable[RejectedRequest | None]],
    ) -> None:
        self.request = request
        self.known = known
        self.send = send
        self.ask = ask
        self.has_tried = False

    async def run(self, rejection: RejectedRequest) -> SearchResult[T]:
        """Return the changes that requests to the server need.

        Raises:
            RejectedRequest: if the text is at fault, or no change helps.
        """
        last, found = await self._search_by_message(rejection)
        if found is None and not rejection.is_doubtful and not self._is_too_long(last):
            found = await self._search_by_trial()
        if found is None:
            raise last
        return found

    async def _search_by_message(
        self, first: RejectedRequest
    ) -> tuple[RejectedRequest, SearchResult[T] | None]:
        """Change the options that the server names until it accepts the request."""
        rejection, needed = first, dict[str, Change]()
        ladders: dict[str, Iterator[Change]] = {}
        for _ in range(MOST_TRIES):
            sent = self._apply(self.request, needed)
            if self._is_too_long(rejection, sent):
                break
            change = _next_change(rejection, sent, ladders)
            if change is None:
                break
            needed[change.option] = change
            try:
                reply = await self.send(self._apply(self.request, needed))
            except RejectedRequest as again:
                rejection = again
            else:
                return rejection, SearchResult(await self._find_culprits(first, needed), reply)
        return rejection, None

    async def _find_culprits(
        self, rejection: RejectedRequest, needed: dict[str, Change]
    ) -> dict[str, Change]:
        """Return the changes without which the server rejects the short question too."""
        if "logprobs" in needed:  # they were dropped together
            needed.pop("top_logprobs", None)
        is_named = "max_completion_tokens" in rejection.text
        is_certain = not rejection.is_doubtful and (
            is_named or not any(o in LIMITS for o in needed)
        )
        if len(needed) == 1 and is_certain:
            return needed
        for option in list(needed):
            others = {name: change for name, change in needed.items() if name != option}
            if await self.ask(self._apply(self.request, others)) is None:
                needed = others
        return needed

    async def _search_by_trial(self) -> SearchResult[T] | None:
        """Send the short question with more and more options; None if they are not at fault."""
        self.has_tried = True
        all_options = options_of(self.request)
        rejection = await self._ask_with(all_options, {})
        if rejection is None or rejection.is_doubtful:
            return None
        kept = [option for option in all_options if option in (*LIMITS, "temperature")]
        if await self._ask_with(kept, {}) is not None:
            kept = []
            if await self._ask_with(kept, {}) is not None:
                return None
        found: dict[str, Change] = {}
        for unit in _units([option for option in all_options if option not in kept]):
            rejection = await self._ask_with([*kept, *unit], found)
            if rejection is not None:
                found |= await self._smallest_change(kept, unit, found, rejection)
            kept = [*kept, *unit]
        if await self._ask_with(all_options, {}) is None:  # it accepts them after all
            return None
        return SearchResult(found) if found else None

    async def _smallest_change(
        self,
        kept: Sequence[str],
        unit: Sequence[str],
        found: Mapping[str, Change],
        rejection: RejectedRequest,
    ) -> dict[str, Change]:
        """Return the smallest change with which the server accepts one more unit of options."""
        last: dict[str, Change] = {}
        for option in reversed(unit):
            for change in smaller_changes(
                option, self.request[option], rejection.text, rejection.words
            ):
                last = {option: change}
                if await self._ask_with([*kept, *unit], {**found, **last}) is None:
                    return last
        return last

    async def _ask_with(
        self, options: Sequence[str], changes: Mapping[str, Change]
    ) -> RejectedRequest | None:
        """Send the short question with some options; return its rejection, or None."""
        request = {k: v for k, v in self.request.items() if k in PLAIN or k in options}
        for limit in LIMITS:
            if isinstance(request.get(limit), int):
                request[limit] = min(request[limit], TRIAL_TOKENS)
        return await self.ask(self._apply(request, changes))

    def _apply(self, request: Mapping[str, Any], changes: Mapping[str, Change]) -> dict[str, Any]:
        return apply_changes(request, {**self.known, **changes})

    def _is_too_long(
        self, rejection: RejectedRequest, sent: Mapping[str, Any] | None = None
    ) -> bool:
        return is_about_length(rejection.text, sent or self._apply(self.request, {}))


def _next_change(
    rejection: RejectedRequest, sent: Mapping[str, Any], ladders: dict[str, Iterator[Change]]
) -> Change | None:
    """Return the smallest untried change of a named option."""
    for option in named_options(rejection.text, sent):
        if option not in ladders:
            ladders[option] = smaller_changes(option, sent[option], rejection.text, rejection.words)
        if change := next(ladders[option], None):
            return change
    return None


def _units(options: Sequence[str]) -> Iterator[list[str]]:
    """Yield options one by one, limits first; `logprobs` and `top_logprobs` are one unit."""
    for option in sorted(options, key=lambda option: option not in (*LIMITS, "temperature")):
        if option == "logprobs" and "top_logprobs" in options:
            yield ["logprobs", "top_logprobs"]
        elif option != "top_logprobs" or "logprobs" not in options:
            yield [option]
