"""Keeps a client to rates a minute, for servers that are paid for or shared."""

import asyncio
import time

from rlkd_plugin.llm_io.per_loop import PerLoop

LOOK = 0.1
"""Seconds between two looks at the budget, which grows when a request used less than it took."""


class Pace:
    """Budgets of requests and tokens a minute, spent evenly; 0 is no limit.

    Args:
        requests_per_minute: tries, retries included.
        tokens_per_minute: in and out.
    """

    def __init__(self, requests_per_minute: float = 0.0, tokens_per_minute: float = 0.0) -> None:
        self._request_seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_seconds = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._requests_paid = self._tokens_paid = 0.0  # when the budget is free again
        self._turns: PerLoop[asyncio.Lock] = PerLoop()

    def open(self) -> None:
        """Belong to the running event loop, beside others that it may belong to."""
        self._turns.enter(asyncio.Lock)

    def close(self) -> None:
        """Belong to the running event loop no more, if this was its last user."""
        self._turns.leave()

    async def turn(self, tokens: float) -> float:
        """Wait until a request may be sent, and take it and its likely tokens from the budgets.

        Returns:
            The seconds that it waited.
        """
        if not self._request_seconds and not self._token_seconds:
            return 0.0
        begin = time.monotonic()
        async with self._turns.here:  # first come, first served
            while (ahead := max(self._requests_paid, self._tokens_paid) - time.monotonic()) > 0:
                await asyncio.sleep(min(ahead, LOOK))
            now = time.monotonic()
            self._requests_paid = now + self._request_seconds
            self._tokens_paid = now + tokens * self._token_seconds
        return now - begin

    def settle(self, tokens: float) -> None:
        """Take the tokens that a request used beyond those taken for it; fewer than 0 come back."""
        if tokens > 0:  # what is paid off already pays for nothing more
            self._tokens_paid = max(self._tokens_paid, time.monotonic())
        self._tokens_paid += tokens * self._token_seconds
