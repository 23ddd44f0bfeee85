r"""Signs of a gold answer that LaTeX writes as commands: pure rules, each from a text to a text.

- One sign for another: full-width forms, mathematical letters, digits of other scripts and dashes
  become ASCII; signs that math-verify does not know (`·`, `∞`, `⩽` ...) become their commands;
  invisible characters are removed, spaces of any width become one.
- Raised and lowered characters: `x²` is `x^{2}`, `10⁻³` is `10^{-3}`, `log₂8` is `log_{2}8`.
- Roots: `√5`, `√(2+3)`, `∛8`, `³√8`, `sqrt(5)`. A root reaches over one number, one letter or one
  pair of brackets. Where it might reach further (`√2x`) the text has two readings.

A text with two readings raises `TwoReadings`. No rule here reads numbers (`gold_numbers`).
"""

import re
import unicodedata


class TwoReadings(ValueError):
    """A gold answer with two possible values; the message names the ambiguous part."""


_DASHES = "\u2010\u2011\u2012\u2013\u2014"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_COMMANDS = {
    **dict.fromkeys("\u00b7\u2219\u2022\u22c5\u2027", "\\cdot "),
    **dict.fromkeys("\u2264\u2a7d\u2266", "\\le "),
    **dict.fromkeys("\u2265\u2a7e\u2267", "\\ge "),
    "\u2260": "\\ne ",
    "\u2103": "°C",
    "\u2109": "°F",
    "\u221e": "\\infty ",
    "\u2213": "\\mp ",
    "\u222a": "\\cup ",
    "\u2229": "\\cap ",
    "\u2208": "\\in ",
    "\u2216": "\\setminus ",
    "\u211d": "\\mathbb{R}",
    "\u2124": "\\mathbb{Z}",
    "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}",
    "\uff5b": "\\{",
    "\uff5d": "\\}",
    "\uff05": "\\%",
}
_SIGNS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys(map(ord, _INVISIBLE), ""),
    # minus signs, asterisk, slashes, ratio, ideographic comma and stop, degree signs, yen, quotes
    **str.maketrans(
        "\u2212\ufe63\u2217\u2044\u2215\u2236\u3001\u3002\u00ba\u02da\uffe5\u2018\u2019\u00b4",
        "--*//:,.°°¥'''",
    ),
    **str.maketrans(_COMMANDS),
}
# Mathematical letters and digits, which NFKC makes plain
_ALPHANUMERIC = re.compile("[\U0001d400-\U0001d7ff]")
_LEADING_DASH = re.compile(rf"(^|[(\[{{,;=<>^+*/:~]|\\[a-z]+ ?)(\s*)[{_DASHES}](?=\s?[\w.\\√])")
# A space that does not break stands in a number on purpose; an ordinary one may part two numbers
_TIGHT_SPACE = re.compile(r"(?<=\d)[\u00a0\u2005-\u200a\u202f](?=\d{3}(?!\d))")

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢⱼₖₘ", "0123456789+-=()nijkm", strict=True))
_POWER = re.compile(rf"(?<=[\w)}}\]'|])[{''.join(_RAISED)}]+")
_INDEX = re.compile(rf"(?<=[\w)}}\]'|])[{''.join(_LOWERED)}]+")

_ROOT_WORD = re.compile(r"(?<![A-Za-z\\])(sqrt|cbrt)(?![A-Za-z])|\\(sqrt)(?=\s*\()")
_ROOTS = {"√": "", "∛": "[3]", "∜": "[4]"}
_ROOT_OF_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\\(?:pi|theta|alpha)(?![A-Za-z])|[^\W\d_])")
_ROOT_OF_COMMAND = re.compile(r"(?:\\sqrt(?:\[\d+\])?|\\[dt]?frac\{[^{}]*\})(?=\{)")
_REACHES = re.compile(
    r"(?!\s+[A-Za-z]{2})\s*(?:[\w(\[{^]|\\(?:pi|[dt]?frac|theta|alpha|left)(?![a-zA-Z]))"
)
_CLOSING = {"(": ")", "{": "}", "[": "]"}


def ascii_signs(text: str) -> str:
    """Return a text with ASCII signs; a text in a script without letter case is unchanged.

    Chinese words, for example, are compared as they are, with their own marks.
    """
    if any(unicodedata.category(char) == "Lo" and char not in "ªº" for char in text):
        return text
    text = _TIGHT_SPACE.sub(r"\\,", text)
    text = _ALPHANUMERIC.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = "".join(_ascii_digit(char) for char in text.translate(_SIGNS))
    text = _LEADING_DASH.sub(r"\1\2-", text)
    return " ".join(text.split())


def _ascii_digit(char: str) -> str:
    return char if char.isascii() or not char.isdecimal() else str(unicodedata.decimal(char))


def powers_and_indices(text: str) -> str:
    """Return a text with raised and lowered characters as `^{...}` and `_{...}`."""
    text = _POWER.sub(lambda run: f"^{{{''.join(map(_RAISED.__getitem__, run[0]))}}}", text)
    return _INDEX.sub(lambda run: f"_{{{''.join(map(_LOWERED.__getitem__, run[0]))}}}", text)


def roots(text: str) -> str:
    r"""Return a text with its roots as `\sqrt{...}`, the innermost, rightmost first.

    Raises:
        TwoReadings: if it is not clear where a root ends.
    """
    text = _ROOT_WORD.sub(lambda word: "∛" if word[1] == "cbrt" else "√", text)
    for place in range(len(text) - 1, -1, -1):
        if text[place] in _ROOTS:
            begin, degree = _degree(text, place)
            argument, end = _under_root(text, place + 1)
            text = f"{text[:begin]}\\sqrt{degree}{{{argument}}}{text[end:]}"
    return text


def _degree(text: str, place: int) -> tuple[int, str]:
    """Return where a root begins and its degree in square brackets; raised digits may give it."""
    begin = place
    while begin and text[begin - 1] in _RAISED:
        begin -= 1
    if begin == place:
        return place, _ROOTS[text[place]]
    before = text[:begin].rstrip()
    if text[place] != "√" or (before and (before[-1].isalnum() or before[-1] in ")]}")):
        raise TwoReadings(text[max(0, begin - 10) : place + 10])
    return begin, f"[{''.join(_RAISED[char] for char in text[begin:place])}]"


def _under_root(text: str, start: int) -> tuple[str, int]:
    """Return the argument of a root whose sign ends at `start`, and where it ends."""
    start += len(text[start:]) - len(text[start:].lstrip())
    bare = text[start : start + 1] not in ("(", "{")
    if not bare:
        end = closing(text, start)
        argument = text[start + 1 : end - 1]
    elif command := _ROOT_OF_COMMAND.match(text, start):
        end = closing(text, command.end())
        argument = text[start:end]
    elif number := _ROOT_OF_NUMBER.match(text, start):
        end = number.end()
        argument = number[0]
    else:
        raise TwoReadings(text[max(0, start - 10) : start + 10])
    power = text[end : end + 1] == "^" or text[end : end + 1] in _RAISED
    if (bare and _REACHES.match(text, end)) or (power and text[end - 1] == ")"):
        raise TwoReadings(text[max(0, start - 10) : end + 10])
    return argument, end


def closing(text: str, opening: int) -> int:
    """Return the place after the bracket that closes the one at `opening`.

    Raises:
        TwoReadings: if none does.
    """
    mine = text[opening]
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == mine) - (text[place] == _CLOSING[mine])
        if not depth:
            return place + 1
    raise TwoReadings(text[opening : opening + 20])
