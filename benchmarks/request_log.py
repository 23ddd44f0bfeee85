"""A log of the requests to one role: counts, tokens, and how many stood one behind the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlkd_plugin.llm_io.replies import Reply


@dataclass
class RequestLog:
    """The requests to a role; `times` has the begin and the end of each."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)

    def add(self, reply: Reply, begin: float) -> None:
        """Count a request that ends now."""
        self.requests += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.times.append((begin, time.monotonic()))


def depth(times: Sequence[tuple[float, float]]) -> int:
    """Return how many requests stood one behind the other: the most that do not overlap."""
    count, free_at = 0, float("-inf")
    for begin, end in sorted(times, key=lambda span: span[1]):
        if begin >= free_at:
            count, free_at = count + 1, end
    return count
