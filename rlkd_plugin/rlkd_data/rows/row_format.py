"""The row of a GRPO data set, made from our own format or from GSM8K's by a pure function.

A row has `messages`, `solution` (for ms-swift's `accuracy`), `problem`, `domain`,
`teacher_reasoning` and `teacher_structure` (None where not computed before training). It may have
`teacher_branches`, `teacher_structures` (`branches`) and `teacher_prompt` (`teacher_prompts`). A
function raises `FormatError` for a row that cannot be used; its message is `reason: value`, and
jobs count by reason. The rows of the larger hub data sets are made in `hub_rows`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.thinking import thinking_end, thinking_opens
from rlkd_plugin.rlkd_data.rows.branches import BRANCHES, read_branches
from rlkd_plugin.rlkd_data.rows.golds import boxed, check_gold, in_box, rebox, verifies
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.rows.teacher_prompts import read_teacher_prompt

__all__ = ["RowFunction", "boxed", "grpo_row", "gsm8k_row", "sft_row", "verifies"]

RowFunction = Callable[[Mapping[str, Any]], Row]

GOLD_DOMAINS = ("math", "science")
"""Domains whose solution is a value, which math-verify compares; in the others it may be code."""

_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]*>>")
_RESULT = re.compile(r"(?<!#)####(?!#)([^\n]*)")
_NUMBER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*")


def grpo_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one in our own format; `answer` may replace `solution`.

    Without `messages` the problem is the user's only message. A mathematical solution must verify
    against itself, or ms-swift's `accuracy` would give 0 to every right completion. An empty one
    means that there is none; then `accuracy` gives 0 to all. A row with branches may lack
    `teacher_reasoning`, which is the first of them.

    Raises:
        FormatError: if a field is missing or is not a text, or the solution does not verify; as
            `read_branches` and `read_teacher_prompt`.
    """
    problem = text_of(raw, "problem")
    domain = domain_or_math(raw)
    messages = raw.get("messages") or [{"role": "user", "content": problem}]
    _check_messages(messages)
    structure = raw.get("teacher_structure") or None
    if structure is not None and not isinstance(structure, str):
        raise FormatError(f"teacher_structure is not a text: {structure!r:.200}")
    branches = read_branches(raw)
    path = branches[BRANCHES][0] if branches else _path(raw, structure)
    solution = _solution(raw, domain)
    return {
        "messages": messages,
        "solution": solution,
        "problem": problem,
        "domain": domain,
        "teacher_reasoning": path,
        "teacher_structure": structure,
        **branches,
        **read_teacher_prompt(raw),
    }


def sft_row(raw: Mapping[str, Any]) -> Row:
    """Make an SFT row from one in our own format, which must end with the assistant's turn.

    Without this turn ms-swift would train on nothing and not report it. A turn that opens its
    thinking must close it: else a model would learn to think until it is cut off.

    Raises:
        FormatError: as `grpo_row`, and if there is no such turn, or one that was cut off.
    """
    row = grpo_row(raw)
    last = row["messages"][-1]
    if last["role"] != "assistant":
        raise FormatError(f"the last message is not the assistant's: {last!r:.200}")
    if thinking_opens(last["content"]) and thinking_end(last["content"]) is None:
        raise FormatError(
            f"the assistant's turn never closes its thinking: {last['content'][-150:]!r}"
        )
    return row


def gsm8k_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one of GSM8K: the worked solution is the teacher's path.

    Calculator notes `<<48/2=24>>`, the result line `#### 72` and the text after it are removed. The
    result is the solution.

    Raises:
        FormatError: as `grpo_row`, and if there is no result line.
    """
    worked, result = _result(text_of(raw, "answer"))
    return grpo_row(
        {
            "problem": text_of(raw, "question"),
            "teacher_reasoning": _CALCULATOR_NOTE.sub("", worked).strip(),
            "answer": result,
        }
    )


def _path(raw: Mapping[str, Any], structure: str | None) -> str | None:
    """Return the teacher's path, or None where a structure stands in for it."""
    path = raw.get("teacher_reasoning")
    if path == "" and structure:
        return None  # in a table of texts an empty text means None
    return None if path is None and structure else text_of(raw, "teacher_reasoning")


def _solution(raw: Mapping[str, Any], domain: str) -> str:
    """Return the solution of a row in our own format; a mathematical one is checked."""
    given = raw.get("solution")
    if given == "" and raw.get("answer") in (None, ""):
        return ""
    is_gold = domain in GOLD_DOMAINS
    if given in (None, "") or not isinstance(given, str):
        name = "answer" if given in (None, "") else "solution"
        answer = text_of(raw, name)
        solution = boxed(answer) if is_gold else in_box(answer)
    else:
        solution = text_of(raw, "solution")
        solution = rebox(solution) if is_gold else solution
    if domain == "math":
        check_gold(solution)
    return solution


def _result(worked: str) -> tuple[str, str]:
    """Return the text before the result line of a worked solution, and the result."""
    found = [line for line in _RESULT.finditer(worked) if line[1].strip()]
    if not found:
        raise FormatError(f"answer has no result line '#### ...': {worked!r:.200}")
    numbers = [line for line in found if _NUMBER.fullmatch(line[1])] or found  # no '#### Step 2'
    if len({line[1].strip() for line in numbers}) > 1:
        raise FormatError(f"answer has several result lines '#### ...': {worked!r:.200}")
    return worked[: numbers[-1].start()], numbers[-1][1].strip()


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise FormatError(f"messages is not a list: {messages!r:.200}")
    for message in messages:
        if not isinstance(message, Mapping) or not (
            message.get("role") in ("system", "user", "assistant")
            and isinstance(message.get("content"), str)
        ):
            raise FormatError(f"a message has no role or content: {message!r:.200}")
