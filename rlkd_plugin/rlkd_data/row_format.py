"""The row of a GRPO data set, and the pure functions that make one from other rows.

A row has `messages`, `solution` (for ms-swift's `accuracy`), `problem`, `domain`,
`teacher_reasoning` and `teacher_structure` (None where not computed ahead). A function raises
`FormatError` for a row that cannot be used; its message is `reason: value`, and jobs count by
reason.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from math_verify import parse, verify

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.prompts import DOMAINS

Row = dict[str, Any]
RowFunction = Callable[[Mapping[str, Any]], Row]

_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]*>>")


def grpo_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one in our own format, `answer` allowed in place of `solution`.

    `messages` may be missing: then the problem is the user's one message. A mathematical solution
    has to verify against itself, or ms-swift's `accuracy` would give 0 to every right completion.

    Raises:
        FormatError: if a field is missing or not a text, or the solution does not verify.
    """
    problem = _text(raw, "problem")
    domain = raw.get("domain", "math")
    if domain not in DOMAINS:
        raise FormatError(f"domain is none of {', '.join(DOMAINS)}: {domain!r}")
    structure = raw.get("teacher_structure")
    if structure is not None and not isinstance(structure, str):
        raise FormatError(f"teacher_structure is no text: {structure!r:.200}")
    if not isinstance(raw.get("messages") or [], list):
        raise FormatError(f"messages is no list: {raw['messages']!r:.200}")
    path = raw.get("teacher_reasoning") if structure else _text(raw, "teacher_reasoning")
    if raw.get("solution"):
        solution = _text(raw, "solution")
    else:
        solution = f"\\boxed{{{_text(raw, 'answer')}}}"
    if domain == "math" and not verifies(solution):
        raise FormatError(f"gold answer does not verify against itself: {solution!r}")
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
    worked, mark, result = _text(raw, "answer").rpartition("####")
    if not mark or not result.strip():
        raise FormatError(f"answer has no result line '#### ...': {raw['answer']!r:.200}")
    return grpo_row(
        {
            "problem": _text(raw, "question"),
            "domain": "math",
            "teacher_reasoning": _CALCULATOR_NOTE.sub("", worked).strip(),
            "answer": result.strip(),
        }
    )


def verifies(solution: str) -> bool:
    """Say whether math-verify reads a gold solution and finds it equal to itself."""
    gold = parse(solution, extraction_mode="first_match")
    return bool(gold) and bool(verify(gold, gold))


ROW_FUNCTIONS: dict[str, RowFunction] = {"gsm8k": gsm8k_row, "jsonl": grpo_row}
"""The formats that `rlkd prepare` and `--dataset rlkd/NAME:FILE` read."""


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FormatError(f"{name} is missing or no text: {value!r:.200}")
    return value.strip()
