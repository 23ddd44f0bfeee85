r"""A gold answer in the notation that math-verify reads, with the value that its writer meant.

ms-swift's `accuracy` compares by math-verify, which takes `5 000` for 5 times 0, `2 1/2` for 3/2
and `60°` or `x²+1` for mere texts: no right completion would equal them. Pure, in one pass of each
rule, and only where there is one reading. Two readings raise a `FormatError`, because a gold of
another value is worse than none. The rules, in order:

1. delimiters around the answer go: `**24**`, `$24$`, `\(24\)`, `\boxed{24}`, `\text{24 cm}`,
   the bracket of `B)`, a last full stop;
2. signs, then roots, powers and indices (`gold_signs`);
3. digit groups, mixed numbers, powers of ten (`gold_numbers`);
4. degrees are `^{\circ}`, also with `C` or `F` after them; `pi`, `ln 2`, `sin x`, `**` and `^(...)`
   are LaTeX's;
5. a currency's sign before or after a number is removed, words after it become its unit:
   `5 km/h` is `5\text{ km/h}`, which math-verify reads as 5; `5 N` might be 5 times N.

Not here: whether a gold can be compared (`golds`).
"""

import re

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.gold_numbers import check_numbers, plain_numbers
from rlkd_plugin.rlkd_data.rows.gold_signs import (
    TwoReadings,
    ascii_signs,
    closing,
    powers_and_indices,
    roots,
)

_AROUND = (("**", "**"), ("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_TEXT = re.compile(r"\\(?:text\w*|mbox|math(?:rm|bf|it))\{([^{}]*\d[^{}]*)\}")
_CHOICE = re.compile(r"[A-H]\)")
_FULL_STOP = re.compile(r"(?<=[\w)}\]%°$!])(?<!\\right)[.;,]$")

_DEGREES = re.compile(
    r"(?<=[\w)}])\s*(?:°(?!°)|\^?\\degree(?![a-zA-Z])|\^\{?\\circ\}?)\s*([CF](?!\w)|)"
)
_FUNCTION = re.compile(
    r"(?P<text>\\(?:text\w*|mbox|math\w+|operatorname)\{[^{}]*\})|(?<![A-Za-z\\])(?:(?P<pi>pi)|"
    r"(?P<name>sin|cos|tan|cot|arcsin|arccos|arctan|ln|log|exp)(?=\s*(?:[\d(\\_^{πθα]|[a-z]\b)))"
    r"(?![A-Za-z])"
)
_BARE_EXPONENT = re.compile(r"\^\s?(-\d+)(?![\d.])")

_NUMBER = r"[-+]?\d[\d,.]*"
_VALUE = r"(?=.*[\dπ])(?:\\[A-Za-z]+|\\[^A-Za-z]|[^A-Za-z\\])+?"
_CURRENCY = re.compile(
    r"\b(?:US|AU?|CA?|NZ|HK|S)(?=\\?\$)|(?:[€£¥₹₽₩]|\b(?:Rs\.?|USD|EUR|GBP|CNY|RMB))\s?(?=\d)|"
    r"(?<=\d)\s?[€£¥₹₽₩]"
)
_CENTS = re.compile(
    r"(?:(?:\\?\$|[€£])\s?(?P<before>\d{1,3})|(?P<after>\d{1,3})(?=,\d\d\s?(?:\\?\$|[€£]|EUR))),(?P<cents>\d\d)"
    r"(?:\s?(?:\\?\$|[€£]|EUR))?"
)
_SHORT_MONEY = re.compile(r"(?:\\?\$|[€£])\s?[\d.,]+\s?[kKMB]")
_UNIT = r"(?:[kcdm]m|[mk]g|[cdm][lL]|min|sec|hr|ft|lb|oz|mph|rpm|k?Hz|kW|Pa|mol)(?:/[A-Za-z]+)?"
_SPACED_UNIT = (
    r"(?:in|mi|yd|sq|cu|m/s|USD|EUR|GBP|[kMGTm]?(?:eV|Hz|Pa|mol|cal)|[kMG][JNVWAΩ]|m[JNVWAΩ]|"
    r"[μµ][mgslLAFCV]|[kMGT]B)\b"
)
_WITH_UNIT = re.compile(
    rf"(?P<value>{_VALUE})(?:\s*(?P<symbol>{_UNIT})|\s+(?P<words>(?:{_SPACED_UNIT}(?:/[A-Za-z]+)?|"
    r"[A-Z]?[a-z]{2,})\.?(?:[ /-][A-Za-z]+\.?){0,4}))(?:\^\{?(?P<power>-?\d)\}?)?"
)
_METRES_OR_VARIABLE = re.compile(rf"{_NUMBER}(?:\s+m\s?\^\{{?\d\}}?|m/s(?:\^\{{?\d\}}?)?)")
_SYMBOL = "(?:[kcm]?g|[kcm]?m|[kMm]?[JNVWAΩ]|Pa|mol|[KCLFTs])"
_POWER = r"(?:\^\{?-?\d\}?)?"
_SYMBOL_OR_VARIABLE = re.compile(
    rf"{_NUMBER}\s+(?!(?:{_UNIT}|{_SPACED_UNIT}(?:/[A-Za-z]+)?){_POWER}\Z)"
    rf"(?:[NJVWAKLCFTΩ]|{_SYMBOL}(?:(?:\s?\\cdot ?|[ /]){_SYMBOL})+){_POWER}"
)
_BRACKETED_UNIT = re.compile(rf"({_NUMBER})\s*\(((?:{_UNIT}|{_SPACED_UNIT}))\)")
_LETTERS = re.compile(
    r"(?P<tex>\\(?:text\w*|mbox|math\w+|operatorname|begin|end)\{[^{}]*\}|\\[A-Za-z]+)|(?<![A-Za-z])[A-Za-z]?[a-z]{2,}"
)
_READ_WORDS = re.compile(r"and|or|inf|infinity|percent|percentage|pct")


def plain_notation(answer: str) -> str:
    r"""Return a gold answer in LaTeX as math-verify reads it, without a box.

    A second call changes nothing. A text that needs no change keeps all but its white space.

    Raises:
        FormatError: if the answer has two readings.
    """
    try:
        text = ascii_signs(_bare(answer))
        text = powers_and_indices(_DEGREES.sub(_degrees, roots(text)))
        text = _exponents(plain_numbers(text))
        text = _units(_CURRENCY.sub("", _FUNCTION.sub(_command, _money(text))))
        check_numbers(text)
        _check_words(text)
    except TwoReadings as error:
        raise FormatError(
            f"gold answer can be read in two ways: {answer!r:.200} at {str(error)!r:.40}"
        ) from None
    return text.strip()


def _bare(answer: str) -> str:
    """Return an answer without delimiters around it."""
    text, before = answer.strip(), ""
    while text != before:
        before = text
        text = _FULL_STOP.sub("", text).strip()
        if text.startswith("\\boxed{") and closing(text, 6) == len(text):
            text = text[7:-1].strip()
        if inner := _TEXT.fullmatch(text):
            text = inner[1].strip()
        if _CHOICE.fullmatch(text):
            text = text[0]
        for opening, end in _AROUND:
            inner = text[len(opening) : -len(end)]
            if text == f"{opening}{inner}{end}" and opening not in inner and end not in inner:
                text = inner.strip() or text
    return text


def _degrees(found: re.Match[str]) -> str:
    if found[1]:
        return f"^{{\\circ}}\\text{{{found[1]}}}"
    return found[0] if "\\circ" in found[0] else "^{\\circ}"


def _command(found: re.Match[str]) -> str:
    if found["text"]:
        return found["text"]
    return "\\pi " if found["pi"] else f"\\{found['name']}"


def _exponents(text: str) -> str:
    """Return a text with exponents of several characters in braces."""
    text = _BARE_EXPONENT.sub(r"^{\1}", text.replace("**", "^"))
    while (place := text.find("^(")) >= 0:
        end = closing(text, place + 1)
        text = f"{text[: place + 1]}{{{text[place + 2 : end - 1]}}}{text[end:]}"
    return text


def _money(text: str) -> str:
    """Return an amount with a decimal comma, such as `12,50 €`, with a point."""
    if found := _SHORT_MONEY.fullmatch(text):
        raise TwoReadings(found[0])
    found = _CENTS.fullmatch(text)
    return f"{found['before'] or found['after']}.{found['cents']}" if found else text


def _units(text: str) -> str:
    """Return a number with words after it as a number with its unit in LaTeX."""
    text = _BRACKETED_UNIT.sub(r"\1 \2", text) if _BRACKETED_UNIT.fullmatch(text) else text
    for reading in (_METRES_OR_VARIABLE, _SYMBOL_OR_VARIABLE):
        if found := reading.fullmatch(text):
            raise TwoReadings(found[0])
    found = _WITH_UNIT.fullmatch(text)
    if not found or found["value"].count("{") != found["value"].count("}"):
        return text
    words = found["symbol"] or found["words"]
    first = re.split(r"[ ./-]", words)[0]
    known = found["symbol"] or re.match(_SPACED_UNIT, words)
    if not (known or _is_word(first)) or any(map(_READ_WORDS.fullmatch, words.split())):
        return text
    power = f"^{found['power']}" if found["power"] else ""
    return f"{found['value'].strip()}\\text{{ {words}{power}}}"


def _is_word(letters: str) -> bool:
    """Return whether letters are a word, not a product of variables.

    A product is in alphabetical order, or has no vowel.
    """
    small = letters.lower()
    vowel = any(vowel in small for vowel in "aeiou")
    return len(small) > 2 and vowel and list(small) != sorted(small)


def _check_words(text: str) -> None:
    """Reject words beside numbers, which math-verify would multiply letter by letter."""
    if any(char.isdigit() for char in text):
        for found in _LETTERS.finditer(text):
            word = found[0]
            if not found["tex"] and _is_word(word) and not _READ_WORDS.fullmatch(word):
                raise TwoReadings(word)
