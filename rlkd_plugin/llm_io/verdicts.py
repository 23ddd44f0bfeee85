"""Reads a judge's reply: a probability, a plain yes or no, or nothing.

Pure; architecture's order: log-probabilities, else words, after any thinking.
"""

import math
import re
from collections.abc import Mapping

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply

MIN_MASS = 1e-3
"""Smallest probability of yes and no together at which log-probabilities are an answer."""

_WORDS = re.compile(r"[^\W\d_]+")


def read_verdict(reply: Reply, threshold: float, constrained: bool = False) -> Verdict | None:
    """Return the verdict of a reply, or None where it is unreadable.

    Args:
        reply: with `tokens` where the server gave log-probabilities.
        threshold: smallest probability of yes against no at which texts match.
        constrained: whether the server was asked for a choice of yes and no alone.
    """
    word = yes_or_no(reply.text)
    probability = _probability(reply, word)
    if probability is not None:
        return Verdict(probability >= threshold, "logprob", probability)
    if word is not None:
        return Verdict(word, "choice" if constrained else "text")
    return None


def yes_or_no(text: str) -> bool | None:
    """Return what a text says by whole words, after any thinking.

    The first or the last word must be yes or no, and the other of the two must not occur.
    """
    after = text.rpartition("</think>")[2]
    if "<think>" in after:
        return None
    words = [word.lower() for word in _WORDS.findall(after)]
    said = {"yes", "no"}.intersection(words)
    if len(said) != 1 or not said.intersection((words[0], words[-1])):
        return None
    return said == {"yes"}


def _probability(reply: Reply, word: bool | None) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) at the token that answers, where that is known."""
    # the other of the two may stand in the thinking
    said = {True: "yes", False: "no", None: None}[word]
    answering = [top for token, top in reply.tokens if _plain(token) == said]
    if answering:
        return _yes_share(answering[-1])
    if len(reply.tokens) == 1:
        return _yes_share(reply.tokens[0][1])
    return None


def _yes_share(alternatives: Mapping[str, float]) -> float | None:
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in alternatives.items():
        if (word := _plain(token)) in mass:
            mass[word] += math.exp(min(logprob, 0.0))  # NaN stays NaN, and is no answer
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total >= MIN_MASS else None


def _plain(token: str) -> str:
    return token.strip(" \t\n\u0120\u2581\"'*.,:").lower()
