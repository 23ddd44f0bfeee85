"""The findings of `rlkd check`, and their wording."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

SHOWN = 80
"""Characters of a reply that are shown."""
SHOWN_OF_ERROR = 160
"""Characters of a server's message that are shown."""
NO_THINKING = '{"chat_template_kwargs": {"enable_thinking": false}}'
"""Request keys that turn off the thinking of hybrid models (Qwen3 and later, GLM)."""

_MESSAGE = re.compile(r'"(?:message|detail|msg)"\s*:\s*"((?:[^"\\]|\\.)+)')


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check.

    Attributes:
        verdict: "ok"; "look": rewards are right, or it cannot be known, but look at it; "wrong":
            rewards would be wrong.
        text: the fault with its value, and what to change.
        seconds: the time it took, where that is of interest.
    """

    verdict: Literal["ok", "look", "wrong"]
    text: str
    seconds: float | None = None

    @property
    def line(self) -> str:
        """The text with its seconds."""
        return self.text if self.seconds is None else f"{self.text} ({self.seconds:.1f} s)"


def merge(by_url: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Return the findings of a role's servers: a common one once, others with their URL."""
    if len(by_url) == 1:
        return [finding for findings in by_url.values() for finding in findings]
    counts: dict[tuple[str, str], list[Finding]] = {}
    for findings in by_url.values():
        for finding in findings:
            counts.setdefault((finding.verdict, finding.text), []).append(finding)
    shown: list[Finding] = []
    for url, findings in by_url.items():
        for finding in findings:
            same = counts[finding.verdict, finding.text]
            if len(same) < len(by_url):
                shown.append(replace(finding, text=f"at {url}: {finding.text}"))
            elif same[0] is finding:
                known = [one.seconds for one in same if one.seconds is not None]
                text = f"{finding.text}, at each of {len(by_url)} servers"
                shown.append(Finding(finding.verdict, text, max(known, default=None)))
    return shown


def quote(text: str, most: int = SHOWN) -> str:
    """Return the beginning of a model's or server's text, on one line, in quotation marks."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"'{words[:most]}{'...' if len(words) > most else ''}'"


def quote_error(words: str) -> str:
    """Return the message in a server's error, or all of it, in quotation marks."""
    found = _MESSAGE.search(words)
    return quote(found[1].replace('\\"', '"') if found else words, SHOWN_OF_ERROR)


def quote_keys(body: Mapping[str, Any]) -> str:
    """Return the names of a body's further keys; the values may be secret."""
    return join_names(f"`{key}`" for key in body)


def join_names(names: Iterable[str]) -> str:
    """Return names in a row: `math, code`."""
    return ", ".join(names)


def cut_advice(words: str) -> str:
    """Return a client's message about a rejected request without its closing advice."""
    return re.split(r"; (?:see|correct|the API key|the account)\b", words)[0]
