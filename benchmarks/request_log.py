"""A log of the requests to one role: counts, tokens, and how many stood one behind the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlkd_plugin.llm_io.chat_client import CHARS_PER_TOKEN
from rlkd_plugin.llm_io.replies import Reply


@dataclass
class RequestLog:
    """The requests to a role, those closed among them; `times` has the begin and end of each."""

    requests: int = 0
    closed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)

    def add(self, reply: Reply, begin: float) -> None:
        """Count a request that ends now."""
        self.requests += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.times.append((begin, time.monotonic()))

    def add_closed(self, asked: str, said: int, begin: float) -> None:
        """Count a request that is closed now; its tokens, 4 characters each, are an estimate.

        Args:
            asked: the prompt.
            said: characters of the reply that came.
            begin: when it was sent.
        """
        self.requests += 1
        self.closed += 1
        self.prompt_tokens += len(asked) // CHARS_PER_TOKEN
        self.completion_tokens += said // CHARS_PER_TOKEN
        self.times.append((begin, time.monotonic()))


def depth(times: Sequence[tuple[float, float]]) -> int:
    """Return how many requests stood one behind the other: the most that do not overlap."""
    count, free_at = 0, float("-inf")
    for begin, end in sorted(times, key=lambda span: span[1]):
        if begin >= free_at:
            count, free_at = count + 1, end
    return count
