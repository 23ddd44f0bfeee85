"""Reads a judge's reply: a probability, a plain yes or no, or nothing.

Pure. Log-probabilities come first, then words, after any thinking. Not here: what is asked where
there is no verdict (`prompted_engine`).
"""

import math
import re
import unicodedata
from collections.abc import Sequence

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply, after_thinking

MIN_MASS = 0.1
"""Smallest probability of yes and no together at which log-probabilities are an answer.

SmolLM2-135M, a weak judge, on the 624 pairs of `rlkd judge-check`: both words have 0.17 to 0.64
(1%: 0.26, median 0.48), and at least 0.28 where one of them is generated. What a judge that says
something else ("Correct") leaves for them is a tail: 0.003 in reports from the field.
"""
MAX_UNLISTED = 0.1
"""Largest probability that may be unlisted where one of the words has no alternative listed.

The word that is missing may hold all of it. A server that lists the generated token alone would
else make each verdict a certain one.
"""

_WORDS = re.compile(r"[^\W\d_]+")
_SPACES = re.compile("[\u0120\u010a\u0109\u010d\u2581]|<0x[0-9A-Fa-f]{2}>")
"""What stands in a token for a space, a line end or another byte."""
_CONTROL = re.compile(r"<[^<>]{1,40}>")
"""Tokens that a text does not show, as that of its end."""
_MARK = re.compile(r"</?\w{1,20}>|<\|[^<>|]{1,40}\|>")
"""Marks around an answer in a text, as `<answer>`."""
_IDIOM = re.compile(
    r"\bno\s+(?:\w+\s+)?(?:doubts?|differences?|contradictions?|conflicts?|discrepanc(?:y|ies)"
    r"|mismatch(?:es)?|disagreements?)\b",
    re.IGNORECASE,
)
"""Where no is not the answer: "no difference" says yes, if anything."""
_CLAUSE_END = re.compile(r"[.,;:!?\n]+")
_DENIAL = re.compile(r"\b(?:not|never|cannot|neither|nor|hardly)\b|n['\u2019]t\b", re.IGNORECASE)
_DENIED_NO = re.compile(
    r"(?:\bnot|\bnever|n['\u2019]t)\W{1,9}(?:\w{1,20}\W{1,9})?no\b", re.IGNORECASE
)
"""A denial of the word itself: "not the same so no" says no."""
_NO_LETTERS = re.compile(r"[\W_]+")


def read_verdict(reply: Reply, threshold: float, constrained: bool = False) -> Verdict | None:
    """Return the verdict of a reply, or None where it is unreadable.

    Log-probabilities decide where both words together hold real mass at the token that answers:
    the spellings of a word are summed, and the sums are compared, whichever spelling was
    generated. Where they hold none the word of the text decides.

    Args:
        reply: with `tokens` where the server gave log-probabilities.
        threshold: smallest probability of yes against no at which texts match.
        constrained: whether the server was asked for a choice of yes and no alone.
    """
    word = _read_word(reply)
    probability = _probability(reply, word)
    if probability is not None:
        return Verdict(probability >= threshold, "logprob", probability)
    if word is not None:
        return Verdict(word, "choice" if constrained else "text")
    return None


def yes_or_no(text: str) -> bool | None:
    """Return what a text says by whole words, after any thinking.

    The first or the last word must be yes or no, and the other of the two must not occur. A word
    that its own clause denies ("I would not say yes") is no answer.
    """
    text = _IDIOM.sub(" ", _MARK.sub(" ", after_thinking(text)))
    words = _words(text)
    said = {"yes", "no"}.intersection(words)
    if len(said) != 1 or not said.intersection((words[0], words[-1])):
        return None
    if words[0] not in said:
        last = next(filter(_WORDS.search, reversed(_CLAUSE_END.split(text))))
        if (_DENIAL if "yes" in said else _DENIED_NO).search(last):
            return None
    return said == {"yes"}


def _read_word(reply: Reply) -> bool | None:
    """Return what a reply says in words.

    A server's reasoning parser may take a whole reply that has no mark of thinking. Where its
    model ended with one word that word is the answer; where it was cut it may go on thinking.
    """
    if reply.text.strip():
        return yes_or_no(reply.text)
    return None if reply.is_cut else {"yes": True, "no": False}.get(_plain(reply.thinking))


def _probability(reply: Reply, word: bool | None) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) at the token that answers, where that is known."""
    if word is not None:
        return _share(_find_answer(reply, "yes" if word else "no"), word)
    if len(reply.tokens) != 1:
        return None
    generated, alternatives = reply.tokens[0]
    # one that is not may be likelier than all that are
    is_listed = any(token == generated for token, _ in alternatives)
    return _share(alternatives, None) if is_listed else None


def _find_answer(reply: Reply, word: str) -> Sequence[tuple[str, float]]:
    """Return the alternatives of the token that says the word; none where it is not one token.

    It is the first word's token where the text begins with the word, and else the last word's.
    Only tokens of what is said count: the same word may stand in the thinking before it.
    """
    text = after_thinking(reply.text) or reply.thinking
    letters = _letters(text)
    begins = _words(text)[:1] == [word]
    rest = len(letters)
    answering: Sequence[tuple[str, float]] = ()
    for token, alternatives in reversed(reply.tokens):
        part = _letters(token)
        rest -= len(part)
        if rest < 0 or letters[rest : rest + len(part)] != part:
            break
        if _plain(token) == word and (rest == 0 or not begins):
            answering = alternatives
            if not begins:
                break
    return answering


def _share(alternatives: Sequence[tuple[str, float]], word: bool | None) -> float | None:
    """Return the share of yes; None where the alternatives do not tell.

    They do not where yes and no are a tail, where neither was generated and something else is
    likelier than both, and where the word that was generated has no log-probability.
    """
    mass = {"yes": 0.0, "no": 0.0}
    listed = likeliest_other = 0.0
    for token, logprob in alternatives:
        probability = math.exp(min(logprob, 0.0))
        listed += probability
        if (spelled := _plain(token)) in mass:
            mass[spelled] += probability
        else:
            likeliest_other = max(likeliest_other, probability)
    total = mass["yes"] + mass["no"]
    if total < MIN_MASS:
        return None
    if word is None and likeliest_other > total:
        return None
    if word is not None and not mass["yes" if word else "no"]:
        return None
    if not all(mass.values()) and 1.0 - listed > MAX_UNLISTED:
        return None
    return mass["yes"] / total


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(unicodedata.normalize("NFC", text))]


def _plain(token: str) -> str:
    """Return a token without the punctuation, symbols and spaces of any kind around it."""
    text = _SPACES.sub(" ", token)
    start, end = 0, len(text)
    while start < end and _is_around(text[start]):
        start += 1
    while end > start and _is_around(text[end - 1]):
        end -= 1
    return text[start:end].lower()


def _is_around(character: str) -> bool:
    return not character.isalnum() and unicodedata.category(character)[0] in "PSZC"


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", _CONTROL.sub("", _SPACES.sub("", text))).lower()
