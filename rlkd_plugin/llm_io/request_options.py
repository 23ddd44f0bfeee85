"""What a request may hold beyond the plain question, and how a rejected option is lessened.

Pure. Not here: how it is found out which options a server rejects (`option_search`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NEUTRAL: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Sampling that changes nothing. vLLM, SGLang and `swift deploy` take what a request does not say
from the model's generation_config.json, where a repetition penalty acts on tags and digits. -1 is
the top_k that every release of them takes; the older ones reject 0."""
PLAIN = ("model", "messages", "input")
"""The keys of the plain question."""
DEPENDENT_OPTIONS = {"logprobs": ("top_logprobs",), "stream": ("stream_options",)}
"""Options that are an error without another one, by that one's name."""
LIMITS = ("max_tokens", "max_completion_tokens")
LEAST_TEMPERATURE = 0.01
"""As good as 0, for servers that want a positive number."""
LEAST_LIMIT = 16
"""The largest of the smallest token limits that servers are known to take."""
FEWER_LOGPROBS = 5
"""Alternatives that nearly every server gives which gives any."""

_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size|limit)"
    r"|(?:input|prompt|sequence|model)[ _-]?(?:length|len\b)"
    r"|(?:input|prompt|text|message|messages|request|sequence) (?:is|are|was) too (?:long|large)"
    r"|\btoo long\b|too many (?:input |prompt )?tokens|reduce the (?:length|number of tokens)"
    r"|longer than the (?:maximum|model)|exceeds? the (?:maximum|model)[^.]{0,40}(?:length|tokens)"
    r"|leaves? no room",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(r"too (?:large|big|high|many)|exceed|(?:larger|greater|more) than", re.I)
_BOUND = re.compile(
    r"(?:<=?|at most|less than(?: or equal to)?|maximum(?: allowed)?(?: of| is| value)?|allowed"
    r"|up to|exceed|between \D{0,3}\d+ and|\[\s*-?\d+\s*[,-]|supports?|>)\D{0,24}?(\d+)",
    re.IGNORECASE,
)
_LEAST = re.compile(
    r"(?:>=|at least|(?:greater|more) than(?: or equal to)?|minimum)\D{0,30}?(\d+)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Change:
    """How requests to one server differ in one option from what they are meant to say.

    Attributes:
        option: the option that the server rejects.
        words: how it said so.
        bound: take this in place of a larger value (of a smaller one for the
            temperature and where `is_least`).
        is_least: whether the bound is the least value.
        rename: say it under this name. Without either it is left out.
    """

    option: str
    words: str
    bound: float | None = None
    rename: str = ""
    is_least: bool = False

    def apply(self, request: dict[str, Any]) -> None:
        """Change a request."""
        if self.option not in request:
            return
        value = request[self.option]
        if self.bound is not None and isinstance(value, (int, float)):
            nearest = max if self.is_least or self.option == "temperature" else min
            request[self.option] = nearest(value, self.bound)
        elif self.rename:
            request[self.rename] = request.pop(self.option)
        else:
            del request[self.option]
            for companion in DEPENDENT_OPTIONS.get(self.option, ()):
                request.pop(companion, None)

    def __str__(self) -> str:
        if self.bound is not None:
            return f"`{self.option}` is held to {self.bound:g}"
        if self.rename:
            return f"`{self.option}` is sent as `{self.rename}`"
        return f"`{self.option}` is left out"


def apply_changes(request: Mapping[str, Any], changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return a request as a server takes it."""
    result = dict(request)
    for change in changes.values():
        change.apply(result)
    return result


def options_of(request: Mapping[str, Any]) -> list[str]:
    """Return what a request holds beyond the plain question."""
    return [key for key in request if key not in PLAIN]


def smaller_changes(option: str, value: Any, text: str, words: str) -> Iterator[Change]:
    """Yield what to try in place of a rejected option, the least change first.

    Args:
        option: its name.
        value: what it was sent with.
        text: all that the server said, which may tell the largest value that it takes.
        words: the same in short, to be kept.
    """
    if option == "temperature" and isinstance(value, (int, float)) and value < LEAST_TEMPERATURE:
        yield Change(option, words, bound=LEAST_TEMPERATURE)
    for least in sorted(_least_values(option, value, text)):
        yield Change(option, words, bound=least, is_least=True)
    bounds = _bounds(option, value, text)
    for bound in sorted(bounds, reverse=True):
        yield Change(option, words, bound=bound)
    if option in LIMITS and (bounds or _TOO_MUCH.search(text)):
        return  # the value is at fault, not the option
    if option == "max_tokens":
        yield Change(option, words, rename="max_completion_tokens")
    if option in LIMITS and isinstance(value, int) and value < LEAST_LIMIT:
        yield Change(option, words, bound=LEAST_LIMIT, is_least=True)
    yield Change(option, words)


def _bounds(option: str, value: Any, text: str) -> set[int]:
    """Return the smaller values that a server may take, by its words."""
    if option not in (*LIMITS, "top_logprobs") or not isinstance(value, (int, float)):
        return set()
    numbers = {int(number) for number in _BOUND.findall(_message(text))}
    if option == "top_logprobs":
        numbers.add(FEWER_LOGPROBS)
    return {number for number in numbers if 0 < number < value}


def _least_values(option: str, value: Any, text: str) -> set[int]:
    """Return the larger limits of a few tokens that a server may want, by its words."""
    if option not in LIMITS or not isinstance(value, int):
        return set()
    numbers = {int(number) for number in _LEAST.findall(_message(text)) if len(number) < 4}
    return {number for number in numbers if value < number <= LEAST_LIMIT}


def named_options(text: str, request: Mapping[str, Any]) -> list[str]:
    """Return the options of a request that a server names, the likeliest culprit first.

    A field that says which parameter it is comes first, then neutral values, which cost nothing
    where they are missing, each in the order of the text: what a server supports is listed after
    what it rejects.
    """
    params = _parameters(text)
    places = {}
    for option in options_of(request):
        if found := re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text):
            matters = option not in NEUTRAL or request[option] != NEUTRAL[option]
            places[option] = (option not in params, matters, found.start())
    named = sorted(places, key=lambda option: places[option])
    if "logprobs" in named and "top_logprobs" in request:  # servers say one for the other
        named = [option for option in named if option != "top_logprobs"]
        named.insert(named.index("logprobs"), "top_logprobs")
    return named


def speaks_of_length(text: str, request: Mapping[str, Any]) -> bool:
    """Say whether a server's words are about a question that is too long for a request's limit.

    They often name the token limit, which the question leaves no room for. Words that tell the
    largest limit are about the limit alone.
    """
    named = named_options(text, request)
    if any(option not in LIMITS for option in named):
        return False
    if _TOO_LONG.search(text):
        return True
    has_bound = any(
        _bounds(option, request[option], text) or _least_values(option, request[option], text)
        for option in named
    )
    return bool(named and _TOO_MUCH.search(text)) and not has_bound


def _message(text: str) -> str:
    """Return a server's words without the fields of an error that hold a status."""
    return re.sub(r'"?(?:code|status)"?\s*[:=]?\s*"?\d+', "", text)


def _parameters(text: str) -> set[str]:
    """Return the parameters that an error's own fields name."""
    found = set(re.findall(r'"param"\s*:\s*"(\w+)', text))
    for location in re.findall(r'"loc"\s*:\s*(\[[^\]]*\])', text):
        try:
            found.update(str(part) for part in json.loads(location))
        except ValueError:
            continue
    return found
