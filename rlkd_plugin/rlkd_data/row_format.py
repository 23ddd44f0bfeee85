"""The row of a GRPO data set, made from our own format or from GSM8K's by a pure function.

A row has `messages`, `solution` (for ms-swift's `accuracy`), `problem`, `domain`,
`teacher_reasoning` and `teacher_structure` (None where not computed ahead). A function raises
`FormatError` for a row that cannot be used; its message is `reason: value`, and jobs count by
reason. The rows of the larger hub data sets are made in `hub_rows`.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from math_verify import parse, verify

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.prompts import DOMAINS

Row = dict[str, Any]
RowFunction = Callable[[Mapping[str, Any]], Row]

LONGEST_GOLD = 1000
"""Characters of a gold answer; a longer one is a text, and costs math-verify seconds each time."""

_DOMAIN_OF = {
    **{domain: domain for domain in DOMAINS},
    **dict.fromkeys(("biology", "physics", "chemistry"), "science"),
}
_ARGUMENT = r" *([0-9a-zA-Z]|\\pi|\{(?:[^{}]|\{[^{}]*\})*\})"
_SHORT_ROOT = re.compile(r"\\sqrt *([0-9a-zA-Z])")
_SHORT_FRACTION = re.compile(rf"\\([dt]?frac)(?![a-zA-Z]){_ARGUMENT}{_ARGUMENT}")
_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]*>>")


def grpo_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one in our own format, `answer` allowed in place of `solution`.

    `messages` may be missing: then the problem is the user's one message. A mathematical solution
    has to verify against itself, or ms-swift's `accuracy` would give 0 to every right completion;
    the empty text says that there is none, and `accuracy` gives 0 to all.

    Raises:
        FormatError: if a field is missing or not a text, or the solution does not verify.
    """
    problem = text_of(raw, "problem")
    domain = domain_of({"domain": "math", **raw})
    structure = raw.get("teacher_structure")
    if structure is not None and not isinstance(structure, str):
        raise FormatError(f"teacher_structure is no text: {structure!r:.200}")
    if not isinstance(raw.get("messages") or [], list):
        raise FormatError(f"messages is no list: {raw['messages']!r:.200}")
    path = raw.get("teacher_reasoning") if structure else text_of(raw, "teacher_reasoning")
    if raw.get("solution"):
        solution = text_of(raw, "solution")
    elif raw.get("solution") == "" and not raw.get("answer"):
        solution = ""
    else:
        solution = boxed(text_of(raw, "answer"))
    if domain == "math" and solution and not verifies(solution):
        raise FormatError(f"gold answer does not verify against itself: {solution!r:.200}")
    return {
        "messages": raw.get("messages") or [{"role": "user", "content": problem}],
        "solution": solution,
        "problem": problem,
        "domain": domain,
        "teacher_reasoning": path,
        "teacher_structure": structure,
    }


def gsm8k_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one of GSM8K: the worked solution is the teacher's path.

    Calculator notes `<<48/2=24>>` are taken out of it, and so is the result line `#### 72`, which
    becomes the solution.

    Raises:
        FormatError: as `grpo_row`, and if there is no result line.
    """
    worked, mark, result = text_of(raw, "answer").rpartition("####")
    if not mark or not result.strip():
        raise FormatError(f"answer has no result line '#### ...': {raw['answer']!r:.200}")
    return grpo_row(
        {
            "problem": text_of(raw, "question"),
            "teacher_reasoning": _CALCULATOR_NOTE.sub("", worked).strip(),
            "answer": result.strip(),
        }
    )


def boxed(answer: str) -> str:
    r"""Return `\boxed{answer}` with the arguments of fractions and roots in braces.

    ms-swift's `accuracy` reads the shorthand `\frac43` in a gold, but not in a completion without
    answer tags: the gold itself would be a wrong answer.
    """
    answer = _SHORT_ROOT.sub(r"\\sqrt{\1}", answer)
    answer = _SHORT_FRACTION.sub(
        lambda m: f"\\{m[1]}{_braced(m[2])}{_braced(m[3])}",
        answer,
    )
    return f"\\boxed{{{answer}}}"


@lru_cache(100_000)
def verifies(solution: str) -> bool:
    """Say whether math-verify reads a gold solution and finds it equal to itself."""
    if len(solution) > LONGEST_GOLD:
        return False
    gold = parse(solution, extraction_mode="first_match")
    return bool(gold) and bool(verify(gold, gold))


def _braced(argument: str) -> str:
    return argument if argument.startswith("{") else f"{{{argument}}}"


def text_of(raw: Mapping[str, Any], name: str) -> str:
    """Return a field without surrounding white space; FormatError if it holds no text."""
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FormatError(f"{name} is missing or no text: {value!r:.200}")
    return value.strip()


def domain_of(raw: Mapping[str, Any]) -> str:
    """Return which of the four domains a row belongs to; the natural sciences are `science`.

    Raises:
        FormatError: if the row's domain is another one.
    """
    domain = raw.get("domain")
    if not isinstance(domain, str) or domain not in _DOMAIN_OF:
        raise FormatError(f"domain is none of {', '.join(_DOMAIN_OF)}: {domain!r:.200}")
    return _DOMAIN_OF[domain]
