r"""Numbers of a gold answer as math-verify reads them: pure rules, each from a text to a text.

- Digit groups: `5 000`, `5\,000`, `5{,}000`, `1'000'000`, `1.234.567,89` become `5000` ...;
  `5,000` alone math-verify reads itself, and takes that of `x = 5,000` or `5,000/3` for a list. A
  group has one to three digits, then threes; ordinary spaces between threes alone (`100 200`) might
  be a list.
- Decimal commas in braces, as LaTeX asks for them: `3{,}14` is `3.14`.
- Mixed numbers: `2 1/2`, `2½` are `2\frac{1}{2}`; of `1½x` the fraction has two readings.
- Powers of ten: `1e5`, `1.5E-3`; `2e-3` might be 2e - 3.

`check_numbers` rejects what math-verify would still misread: numbers side by side
(math-verify multiplies them), `(1,000)`, times, dates and ranges (which it subtracts), feet and
minutes of arc, periods, `5 million`.
A text with two readings raises `TwoReadings`.
"""

import re
import unicodedata

from rlkd_plugin.rlkd_data.rows.gold_signs import TwoReadings

SPACE = r"(?: |~|\\[ ,;:!]|\\quad)"

_SEPARATOR = rf"{SPACE}+|\{{(?:,|\\,)\}}|,\\!|'|_"
_GROUPED = re.compile(
    rf"(?<![\w.,^'\\}}])([1-9]\d{{0,2}})({_SEPARATOR})(\d{{3}}(?:\2\d{{3}})*)(?!\d)"
)
_GROUP_CONTINUES = re.compile(rf"(?:{_SEPARATOR})\d|,\d|_|/?'")
_COMMAS_IN_ARGUMENT = re.compile(r"(?<=[a-z}]\{)[1-9]\d{0,2}(?:,\d{3})+(?=\})")
_COMMAS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")
_ENDS_OPERATOR = re.compile(
    r"(?:[=+*/^<>:\u00d7\u00f7]|.-|\\(?:times|cdot|div|pm|mp|le|ge|ne)(?![a-zA-Z]))\s*\Z"
)
_BEGINS_OPERATOR = re.compile(
    r"(?:\.\d+)?\s*(?:[-+*/^!:<>=%(π\u00d7\u00f7]|\\(?:times|cdot|div|pi|sqrt|pm|le|ge|%)|[A-Za-z](?![A-Za-z]))"
)
_POINTS = re.compile(r"(?<![\w.,^_])([1-9]\d{0,2}(?:\.\d{3}){2,})(,\d+)?(?![\w.,])")
_DECIMAL_COMMA = re.compile(r"(?<![\w.,}])(\d+)\{,\}(\d+)(?![\d{.])")

_VULGAR = re.compile(rf"((?<![\w.,^_/}}\\)])\d+{SPACE}*|)([¼-¾⅐-⅞↉])")
_FRACTION = r"\\[dtc]?frac\{\d+\}\{\d+\}"
_MIXED = re.compile(rf"(?<![\w.,^_/}}\\)])(\d+){SPACE}+(\d+) ?/ ?(\d+)(?![\w.^(])")
_MIXED_FACTOR = re.compile(
    rf"(?<![\w.,^_/}}\\)])[1-9]\d*{SPACE}*{_FRACTION}\s*(?!(?:and|or|percent)\b)(?:[A-Za-z(π]|\\(?:pi|sqrt|left)(?![a-zA-Z]))"
)
_OPERAND = re.compile(r"\w|[(\[{√]|\\(?:pi|sqrt|[dtc]?frac|left|theta|alpha)(?![a-zA-Z])")
_UNIT_WORD = re.compile(r"[A-Za-z]{2}")
_POWER_OF_TEN = re.compile(r"(?<![\w.,])(\d+(?:\.\d+)?)(e|E)([+-]?)(\d+)(?![\w.])")

_TEXT = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname)\{[^{}]*\}")
_LIST = re.compile(r"(?<![\w.,])\d+(?:\.\d+)?(?:,\s*\d+(?:\.\d+)?)+")
_MULTIPLE = re.compile(
    r"\b(?:hundred|thousand|[mbtr]+illion|dozen|half|halve|third|quarter|fifth)s?\b", re.IGNORECASE
)
_COMMA_GROUPS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_OTHERWISE_MEANT = re.compile(
    "|".join(
        (
            # 1 2 3, 10 20: math-verify multiplies; not the argument of \log_2 8
            rf"(?<![\w^.\\}}])\d+(?:\.\d+)?{SPACE}+\d",
            r"\d\s?(?!(?:and|or)\b)[A-Za-z]{1,3}\s+\d",  # 5 ft 3 in, 3 x 4
            r"/ ?\d+ ?\\?%",  # 1/3%, of which math-verify divides by 3%
            r"[;:]\s*0\d",  # 3:05
            r"\d-0\d|(?<![\w.^}])\d+/\d+/\d+(?![\w.])",  # 2020-01-05, 01/05/2020
            r"\A(?:\d+(?:-\d+)+|-?\d+(?: -\d+)+)(?:[ ;]|\\%|%)*\Z",  # 3-5, 555-1234, 5 -5
            r"\d:\d\d\s*[aApP]\.?[mM]\b",
            r"""\d\s*(?:['"\u2032\u2033]|\^?\{?\\prime)""",  # 5'10", 30^\circ 15'
            r"(?:°|\\circ\}?)\s*\d",
            r"\d\.\d*\(\d+\)",  # 0.1(6): a period, or a product
            r"(?<![\d.,])\d{1,3}\.\d{3},\d+(?![\d.,])",  # 1.234,5
        )
    )
)


def plain_numbers(text: str) -> str:
    """Return a text with its numbers as math-verify reads them.

    Raises:
        TwoReadings: if a number might be another, or several.
    """
    text = _COMMAS_IN_ARGUMENT.sub(lambda found: found[0].replace(",", ""), text)
    text = _COMMAS.sub(_without_commas, text)
    text = _POINTS.sub(lambda found: _point_for_comma(found[1], found[2] or ""), text)
    text = _GROUPED.sub(_one_number, text)
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    text = _POWER_OF_TEN.sub(_power_of_ten, text)
    text = _VULGAR.sub(_vulgar_fraction, text)
    return _MIXED.sub(_mixed_number, text)


def check_numbers(text: str) -> None:
    """Reject a text in which math-verify would misread a number.

    Raises:
        TwoReadings: with the part in question.
    """
    found = _MULTIPLE.search(text)
    if found and any(char.isdigit() for char in text):
        raise TwoReadings(found[0])
    text = _TEXT.sub(" ; ", text)
    if found := _OTHERWISE_MEANT.search(text) or _MIXED_FACTOR.search(text):
        raise TwoReadings(found[0])
    for found in _LIST.finditer(text):
        items = re.split(r",\s*", found[0])
        before = text[: found.start()].replace("\\left", "")
        bracketed = sum(map(before.count, "([")) > sum(map(before.count, ")]")) or "\\{" in before
        if _COMMA_GROUPS.fullmatch(found[0]) and not bracketed and not before.startswith("{"):
            continue
        if any(re.match(r"0\d", item) for item in items[1:]):
            raise TwoReadings(found[0])


def _without_commas(found: re.Match[str]) -> str:
    """Return the digits of a number in groups that has an operator beside it, outside brackets."""
    before, after = found.string[: found.start()], found.string[found.end() :]
    if sum(map(before.count, "([{")) > sum(map(before.count, ")]}")):
        return found[0]
    beside = _ENDS_OPERATOR.search(before) or _BEGINS_OPERATOR.match(after)
    return found[0].replace(",", "") if beside else found[0]


def _one_number(found: re.Match[str]) -> str:
    """Return the digits of a number in groups."""
    first, separator, rest = found[1], found[2], found[3]
    groups = rest.split(separator)
    text = found.string
    sure = any(group.startswith("0") for group in groups)  # no number of a list begins with 0
    if _GROUP_CONTINUES.match(text, found.end()):
        raise TwoReadings(found[0])
    if separator == "_":
        if not sure and len(groups) < 2:
            return found[0]  # a base: 110_222
    elif not separator.strip(" ") and not sure:
        slash = text[found.end() : found.end() + 1] == "/" or text[: found.start()].endswith("/")
        if len(first) == 3 or slash:
            raise TwoReadings(found[0])
    return first + "".join(groups)


def _point_for_comma(whole: str, decimals: str) -> str:
    return whole.replace(".", "") + decimals.replace(",", ".")


def _power_of_ten(found: re.Match[str]) -> str:
    mantissa, letter, sign, exponent = found.groups()
    if letter == "e" and sign and not exponent.startswith("0"):
        raise TwoReadings(found[0])
    minus = "-" if sign == "-" else ""
    return f"{mantissa}\\times 10^{{{minus}{exponent.lstrip('0') or '0'}}}"


def _vulgar_fraction(found: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", found[2]).partition("\u2044")
    text, start, end = found.string, found.start(), found.end()
    whole = re.sub(rf"{SPACE}+$", "", found[1])
    if (start and (text[start - 1].isalnum() or text[start - 1] in "^_/.)}")) or (
        text[end : end + 1].isalnum() and (whole or text[end].isdigit())
    ):
        raise TwoReadings(text[max(0, start - 5) : end + 5])
    return f"{whole}\\frac{{{above}}}{{{below}}}"


def _mixed_number(found: re.Match[str]) -> str:
    whole, above, below = found.groups()
    before, after = found.string[: found.start()].rstrip(), found.string[found.end() :].lstrip()
    factor = _OPERAND.match(after) and not _UNIT_WORD.match(after)
    operand = (
        before
        and (before[-1].isalnum() or before[-1] in ")]}")
        and not before.endswith((" and", " or"))
    )
    proper = whole[0] != "0" and above[0] != "0" and int(above) < int(below)
    if factor or operand or not proper:
        raise TwoReadings(found[0])
    return f"{whole}\\frac{{{above}}}{{{below}}}"
