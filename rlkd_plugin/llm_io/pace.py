"""Limits a client's rates per minute, for paid or shared servers."""

import asyncio
import time

from rlkd_plugin.llm_io.per_loop import PerLoop

LOOK = 0.1
"""Seconds between two checks of the budget, which grows if a request used less than estimated."""


class Pace:
    """Budgets of requests and tokens per minute, spent evenly; 0 is no limit.

    Args:
        requests_per_minute: retries included.
        tokens_per_minute: of prompts and replies.
    """

    def __init__(self, requests_per_minute: float = 0.0, tokens_per_minute: float = 0.0) -> None:
        self._request_seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_seconds = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._requests_paid = self._tokens_paid = 0.0  # when the budget is available again
        self._turns: PerLoop[asyncio.Lock] = PerLoop()

    def open(self) -> None:
        """Start use in the running event loop."""
        self._turns.enter(asyncio.Lock)

    def close(self) -> None:
        """End one use in the running event loop."""
        self._turns.leave()

    async def turn(self, tokens: float) -> float:
        """Wait until a request may be sent, and charge it with its estimated tokens.

        Returns:
            The seconds waited.
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
        """Charge the tokens used beyond the estimate; a negative number is refunded."""
        if tokens > 0:  # unused time in the past is no credit
            self._tokens_paid = max(self._tokens_paid, time.monotonic())
        self._tokens_paid += tokens * self._token_seconds
