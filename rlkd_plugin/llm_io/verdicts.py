"""Reads a verdict from a judge's reply: a probability, a plain yes or no, or nothing.

Pure. Log-probabilities come first, then the words after any thinking. Not here: the retry without
a verdict (`prompted_engine`).
"""

import math
import re
import unicodedata
from collections.abc import Sequence

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply, after_thinking

MIN_MASS = 0.1
"""Smallest probability of yes and no together at which log-probabilities are an answer.

With SmolLM2-135M, a weak judge, on the 624 pairs of `rlkd judge-check`, both words together have
0.17 to 0.64 (1%: 0.26, median 0.48), and at least 0.28 if one of them is generated. If a judge
writes something else ("Correct"), little is left for them: 0.003 in reports from users.
"""
MAX_UNLISTED = 0.1
"""Largest unlisted probability if one of the words is not among the alternatives.

The missing word may have all of it. Without this bound, a server that lists only the generated
token would make each verdict certain.
"""

_WORDS = re.compile(r"[^\W\d_]+")
_SPACES = re.compile("[\u0120\u010a\u0109\u010d\u2581]|<0x[0-9A-Fa-f]{2}>")
"""Symbols in a token for a space, a line end or another byte."""
_CONTROL = re.compile(r"<[^<>]{1,40}>")
"""Tokens that are not part of the text, such as the end of sequence."""
_MARK = re.compile(r"</?\w{1,20}>|<\|[^<>|]{1,40}\|>")
"""Marks around an answer, such as `<answer>`."""
_IDIOM = re.compile(
    r"\bno\s+(?:\w+\s+)?(?:doubts?|differences?|contradictions?|conflicts?|discrepanc(?:y|ies)"
    r"|mismatch(?:es)?|disagreements?)\b",
    re.IGNORECASE,
)
"""Phrases in which "no" is not the answer, such as "no difference"."""
_CLAUSE_END = re.compile(r"[.,;:!?\n]+")
_DENIAL = re.compile(r"\b(?:not|never|cannot|neither|nor|hardly)\b|n['\u2019]t\b", re.IGNORECASE)
_DENIED_NO = re.compile(
    r"(?:\bnot|\bnever|n['\u2019]t)\W{1,9}(?:\w{1,20}\W{1,9})?no\b", re.IGNORECASE
)
"""A denial of the word itself: "not the same so no" says no."""
_NO_LETTERS = re.compile(r"[\W_]+")


def read_verdict(reply: Reply, threshold: float, constrained: bool = False) -> Verdict | None:
    """Return the verdict of a reply, or None if it is unreadable.

    Log-probabilities decide if both words together have enough probability at the token of the
    answer. The spellings of each word are summed, and the sums are compared. Otherwise the word
    in the text decides.

    Args:
        reply: with `tokens` if the server gave log-probabilities.
        threshold: smallest probability of yes against no at which texts match.
        constrained: whether the request was constrained to yes or no.
    """
    word = _read_word(reply)
    probability = _probability(reply, word)
    if probability is not None:
        return Verdict(probability >= threshold, "logprob", probability)
    if word is not None:
        return Verdict(word, "choice" if constrained else "text")
    return None


def yes_or_no(text: str) -> bool | None:
    """Return the answer of a text in whole words, after any thinking.

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
    """Return the answer of a reply in words.

    A reasoning parser may treat a whole reply without marks as thinking. If that is one word, and
    the reply was not cut, the word is the answer.
    """
    if reply.text.strip():
        return yes_or_no(reply.text)
    return None if reply.is_cut else {"yes": True, "no": False}.get(_plain(reply.thinking))


def _probability(reply: Reply, word: bool | None) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) at the token of the answer, if it is known."""
    if word is not None:
        return _share(_find_answer(reply, "yes" if word else "no"), word)
    if len(reply.tokens) != 1:
        return None
    generated, alternatives = reply.tokens[0]
    # an unlisted token may be more likely than all listed ones
    is_listed = any(token == generated for token, _ in alternatives)
    return _share(alternatives, None) if is_listed else None


def _find_answer(reply: Reply, word: str) -> Sequence[tuple[str, float]]:
    """Return the alternatives of the word's token; empty if the word is not one token.

    It is the first word's token if the text begins with the word, else the last word's. Tokens of
    the thinking do not count, as the word may occur there too.
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
    """Return the share of yes; None if the alternatives do not show it.

    That is the case if yes and no are improbable, if neither was generated and another token is
    more likely than both, or if the generated word has no log-probability.
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
    """Return a token in lower case without surrounding punctuation, symbols and spaces."""
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
