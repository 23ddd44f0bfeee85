"""The log-probabilities of a completion: each generated token with its alternatives.

Pure. Not here: what the probabilities mean (`verdicts`). Nothing here raises an error, as a
completion without usable log-probabilities is still a completion.
"""

import math
from collections.abc import Iterator
from typing import Any

Alternative = tuple[str, float]
Token = tuple[str, tuple[Alternative, ...]]
"""A generated token, and pairs of a token and its log-probability.

Pairs and not a mapping: several token ids may decode to one string.
"""

MAX_LOGPROB = 0.01
"""Largest value of a log-probability, above 0 only by rounding. Logits may be larger."""

MOST_LISTED = 1.5
"""Largest sum of a token's probabilities: 1, with room for rounding. A larger sum comes from
placeholders, such as a 0 for each alternative."""


def read_tokens(logprobs: Any) -> tuple[Token, ...]:
    """Return the generated tokens of a choice's `logprobs`; empty where there are none.

    Both shapes of the OpenAI API are read, that of chats (`content`) and the older one (`tokens`
    and `top_logprobs`). An alternative without a number is skipped, and an exact duplicate is
    dropped. The generated token is added if it is missing. A token with placeholders as numbers
    has no alternatives.
    """
    if not isinstance(logprobs, dict):
        return ()
    entries = logprobs.get("content")
    if isinstance(entries, list):
        return tuple(map(_token, entries))
    tokens = logprobs.get("tokens")
    if not isinstance(tokens, list):
        return ()
    own, top = (_list(logprobs.get(key)) for key in ("token_logprobs", "top_logprobs"))
    own += [None] * (len(tokens) - len(own))
    top += [None] * (len(tokens) - len(top))
    return tuple(
        _token({"token": token, "logprob": logprob, "top_logprobs": alternatives})
        for token, logprob, alternatives in zip(tokens, own, top, strict=False)
    )


def _token(entry: Any) -> Token:
    """Return the token of one entry; an unreadable entry gives an empty token."""
    if not isinstance(entry, dict) or not isinstance(token := entry.get("token"), str):
        return "", ()
    pairs = dict.fromkeys(_alternatives(entry.get("top_logprobs")))
    logprob = _logprob(entry.get("logprob"))
    if logprob is not None and all(token != other for other, _ in pairs):
        pairs[token, logprob] = None
    if sum(math.exp(min(value, 0.0)) for _, value in pairs) > MOST_LISTED:
        return token, ()
    return token, tuple(pairs)


def _alternatives(top: Any) -> Iterator[Alternative]:
    if isinstance(top, dict):
        pairs = list(top.items())
    else:
        entries = (entry for entry in _list(top) if isinstance(entry, dict))
        pairs = [(entry.get("token"), entry.get("logprob")) for entry in entries]
    for token, value in pairs:
        logprob = _logprob(value)
        if isinstance(token, str) and logprob is not None:
            yield token, logprob


def _logprob(value: Any) -> float | None:
    """Return a value that is a finite log-probability, else None; NaN fails each comparison."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if -1e9 < value <= MAX_LOGPROB else None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []
