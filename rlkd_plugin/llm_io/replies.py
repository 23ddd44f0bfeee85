"""Parses the replies of a chat server.

Pure. Not here: failures (`chat_client`), and whether a text says yes (`verdicts`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from itertools import chain

from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.message_text import is_refusal, split_message
from rlkd_plugin.llm_io.token_alternatives import read_tokens

_MALFORMED = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)

CUT_REASONS = frozenset(
    {"length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length"}
)
"""Finish reasons at the token limit, in lower case."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion.

    `tokens` holds, for each generated token, the token and its alternatives with their
    log-probabilities (`token_alternatives`); it is empty if the server gave none. `thinking` is the
    thinking that the server delivered separately from the text.
    """

    text: str
    finish_reason: str | None = None
    tokens: Sequence[tuple[str, Sequence[tuple[str, float]]]] = field(default=())
    thinking: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def thinks(self) -> bool:
        """Whether the server delivered thinking separately from the text."""
        return bool(self.thinking)

    @property
    def is_cut(self) -> bool:
        """Whether the completion ended at its token limit."""
        return (self.finish_reason or "").lower() in CUT_REASONS

    @property
    def has_logprobs(self) -> bool:
        """Whether any token has alternatives with log-probabilities."""
        return any(alternatives for _, alternatives in self.tokens)


def read_reply(payload: bytes) -> Reply:
    """Return the first choice of a completion.

    A message with nothing but a refusal gets the finish reason of a content filter.

    Raises:
        ValueError: if the payload is no completion: broken JSON, no choice, wrong types.
    """
    try:
        reply = json.loads(payload)
        choice = reply["choices"][0]
        message = choice["message"]
        said, thought = split_message(message)
        reason = choice.get("finish_reason")
        if not said.strip() and is_refusal(message):
            reason = "content_filter"
        usage = reply.get("usage") or {}
        return Reply(
            said,
            reason and str(reason),
            read_tokens(choice.get("logprobs")),
            thought,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
        )
    except _MALFORMED as error:
        raise ValueError(f"no completion: {error!r}") from None


def after_thinking(text: str) -> str:
    """Return the text after the thinking; empty if the thinking does not end."""
    return split_thinking(text)[1]


def read_embeddings(payload: bytes, count: int) -> tuple[list[list[float]], int]:
    """Return the embeddings of a reply in the order of the texts, and their tokens.

    Raises:
        ValueError: if it does not have `count` finite vectors of equal length.
    """
    try:
        reply = json.loads(payload)
        entries = sorted(reply["data"], key=lambda entry: entry["index"])
        vectors = [[float(number) for number in entry["embedding"]] for entry in entries]
        tokens = int((reply.get("usage") or {}).get("prompt_tokens") or 0)
    except _MALFORMED as error:
        raise ValueError(f"no embeddings: {error!r}") from None
    if len(vectors) != count or [entry["index"] for entry in entries] != list(range(count)):
        raise ValueError(f"{len(vectors)} embeddings for {count} texts")
    if len({len(vector) for vector in vectors}) != 1 or not all(
        map(math.isfinite, chain.from_iterable(vectors))
    ):
        raise ValueError("embeddings of several lengths, or with numbers that are not finite")
    if not all(map(any, vectors)):
        raise ValueError("an embedding that is empty or all zeros")
    return vectors, tokens


def seconds_to_wait(retry_after: str | None) -> float:
    """Return a Retry-After header, seconds or a date, in seconds; 0 without a valid one."""
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
