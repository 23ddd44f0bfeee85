"""The options of a request, and the changes to try if a server rejects one.

Pure. Not here: the search for the rejected option (`option_search`).
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
"""Sampling without effect. vLLM, SGLang and `swift deploy` read missing options from the model's
generation_config.json, where a repetition penalty would affect tags and digits. All their releases
accept -1 as top_k; older ones reject 0."""
PLAIN = ("model", "messages", "input")
"""Keys of the plain question."""
DEPENDENT_OPTIONS = {"logprobs": ("top_logprobs",), "stream": ("stream_options",)}
"""Options that are invalid without another one, by its name."""
LIMITS = ("max_tokens", "max_completion_tokens")
LEAST_TEMPERATURE = 0.01
"""Practically 0, for servers that require a positive number."""
LEAST_LIMIT = 16
"""Accepted as a token limit by every known server."""
FEWER_LOGPROBS = 5
"""Alternatives that nearly every server with log-probabilities supports."""

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
    """A change of one option in all requests to one server.

    Attributes:
        option: the option that the server rejects.
        words: the server's message.
        bound: replaces a larger value (a smaller one for the temperature and if `is_least`).
        is_least: whether the bound is the smallest value.
        rename: the new name. Without a bound or a new name the option is dropped.
    """

    option: str
    words: str
    bound: float | None = None
    rename: str = ""
    is_least: bool = False

    def apply(self, request: dict[str, Any]) -> None:
        """Apply the change to a request."""
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
            is_raised = self.is_least or self.option == "temperature"
            return f"`{self.option}` is {'raised' if is_raised else 'limited'} to {self.bound:g}"
        if self.rename:
            return f"`{self.option}` is sent as `{self.rename}`"
        return f"`{self.option}` is dropped"


def apply_changes(request: Mapping[str, Any], changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return a request with the changes for a server."""
    result = dict(request)
    for change in changes.values():
        change.apply(result)
    return result


def options_of(request: Mapping[str, Any]) -> list[str]:
    """Return the names of a request's options."""
    return [key for key in request if key not in PLAIN]


def smaller_changes(option: str, value: Any, text: str, words: str) -> Iterator[Change]:
    """Yield the changes to try for a rejected option, the smallest first.

    Args:
        option: its name.
        value: that was rejected.
        text: the server's whole message, which may name the allowed values.
        words: the beginning of the message, for the changes.
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
    """Return the smaller values that a server may accept, from its message."""
    if option not in (*LIMITS, "top_logprobs") or not isinstance(value, (int, float)):
        return set()
    numbers = {int(number) for number in _BOUND.findall(_message(text))}
    if option == "top_logprobs":
        numbers.add(FEWER_LOGPROBS)
    return {number for number in numbers if 0 < number < value}


def _least_values(option: str, value: Any, text: str) -> set[int]:
    """Return the larger token limits that a server may require, from its message."""
    if option not in LIMITS or not isinstance(value, int):
        return set()
    numbers = {int(number) for number in _LEAST.findall(_message(text)) if len(number) < 4}
    return {number for number in numbers if value < number <= LEAST_LIMIT}


def named_options(text: str, request: Mapping[str, Any]) -> list[str]:
    """Return the options that a server's message names, the most likely cause first.

    Options in a field for the parameter come first. Then come neutral values, as dropping them
    costs nothing. Within each group the order is that of the text, as messages list supported
    options after the rejected one.
    """
    params = _parameters(text)
    places = {}
    for option in options_of(request):
        if found := re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text):
            matters = option not in NEUTRAL or request[option] != NEUTRAL[option]
            places[option] = (option not in params, matters, found.start())
    named = sorted(places, key=lambda option: places[option])
    if "logprobs" in named and "top_logprobs" in request:  # servers confuse the two
        named = [option for option in named if option != "top_logprobs"]
        named.insert(named.index("logprobs"), "top_logprobs")
    return named


def is_about_length(text: str, request: Mapping[str, Any]) -> bool:
    """Return whether a server's message says that the prompt is too long.

    Such messages often name the token limit, for which the prompt leaves no room. A message with
    the largest allowed limit concerns the limit alone.
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
    """Return a server's message without the status fields of an error."""
    return re.sub(r'"?(?:code|status)"?\s*[:=]?\s*"?\d+', "", text)


def _parameters(text: str) -> set[str]:
    """Return the parameters named in the fields of an error."""
    found = set(re.findall(r'"param"\s*:\s*"(\w+)', text))
    for location in re.findall(r'"loc"\s*:\s*(\[[^\]]*\])', text):
        try:
            found.update(str(part) for part in json.loads(location))
        except ValueError:
            continue
    return found
