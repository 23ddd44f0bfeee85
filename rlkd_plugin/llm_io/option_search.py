"""Finds out which options of a rejected request a server does not take.

A server that names the option is believed if it takes the same request without it. A server that
names none is sent a short question with the same options: if it takes that, the text is at fault.
Not here: how a request is sent, and what is remembered (`chat_client`, `server_options`).
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rlkd_plugin.llm_io.request_options import (
    LIMITS,
    PLAIN,
    Change,
    apply_changes,
    named_options,
    options_of,
    smaller_changes,
    speaks_of_length,
)

T = TypeVar("T")

MOST_TRIES = 20
"""Requests in which the options that a server names are lessened, one after the other."""
TRIAL_TOKENS = 16
"""Tokens of the short question's reply; some servers take no smaller limit."""
CERTAIN = (400, 422)
"""Statuses that say that the request is at fault, in its text or in an option."""


class RejectedRequest(Exception):
    """A request that a server rejects, for its text or for an option.

    Attributes:
        status: one of `CERTAIN`, or one that mostly means something else: 403, 404, 405, or 500 and
            501 of servers that fail at an option that they do not know.
        text: all that it said, without the key.
        words: the same in short.
        error: what it means where no option is at fault.
    """

    def __init__(self, status: int, text: str, words: str, error: Exception) -> None:
        super().__init__(words)
        self.status = status
        self.text = text
        self.words = words
        self.error = error

    @property
    def is_doubtful(self) -> bool:
        """Whether an option is at fault only if the server names it."""
        return self.status not in CERTAIN


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[T]):
    """What a search found: the changes to remember, and the reply if the request has one."""

    changes: Mapping[str, Change]
    reply: T | None = None


class OptionSearch(Generic[T]):
    """The search for one rejected request to one server.

    Args:
        request: what it is meant to say.
        known: the changes that the server is known to need, with which it was rejected.
        send: sends the request as changed; raises RejectedRequest.
        ask: sends the short question with a request's options; returns why it was rejected, None
            if it was not.

    Attributes:
        has_tried: whether the short question was asked with all options.
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
        """Return what requests to the server are to change.

        Raises:
            RejectedRequest: if the text is at fault, or nothing helps.
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
        """Lessen the options that the server names until it takes the request."""
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
        """Return those changes without which the server rejects also the short question."""
        if "logprobs" in needed:  # they went together
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
        """Ask the short question with ever more of the options; None if they are not at fault."""
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
        if await self._ask_with(all_options, {}) is None:  # it took them after all
            return None
        return SearchResult(found) if found else None

    async def _smallest_change(
        self,
        kept: Sequence[str],
        unit: Sequence[str],
        found: Mapping[str, Change],
        rejection: RejectedRequest,
    ) -> dict[str, Change]:
        """Return the least change by which the server takes also a unit of options."""
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
        """Ask the short question with some options; return why it was rejected."""
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
        return speaks_of_length(rejection.text, sent or self._apply(self.request, {}))


def _next_change(
    rejection: RejectedRequest, sent: Mapping[str, Any], ladders: dict[str, Iterator[Change]]
) -> Change | None:
    """Return the least change of a named option that was not tried yet."""
    for option in named_options(rejection.text, sent):
        if option not in ladders:
            ladders[option] = smaller_changes(option, sent[option], rejection.text, rejection.words)
        if change := next(ladders[option], None):
            return change
    return None


def _units(options: Sequence[str]) -> Iterator[list[str]]:
    """Yield options one by one, the limits first; log-probabilities come with alternatives."""
    for option in sorted(options, key=lambda option: option not in (*LIMITS, "temperature")):
        if option == "logprobs" and "top_logprobs" in options:
            yield ["logprobs", "top_logprobs"]
        elif option != "top_logprobs" or "logprobs" not in options:
            yield [option]
