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

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row

RowFunction = Callable[[Mapping[str, Any]], Row]

LONGEST_GOLD = 200
DEEPEST_GOLD = 12
"""Characters and nested brackets of a gold answer. Beyond them math-verify needs seconds for each
completion, and its time-outs would depend on how busy the machine is."""

STRICT = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        nits=False,
        malformed_operators=False,
        basic_latex=True,
        boxed=True,  # pyright: ignore[reportArgumentType]  # what ms-swift's `accuracy` gives
        units=True,
    ),
    boxed_match_priority=0,
    try_extract_without_anchor=False,
)
"""How ms-swift's `accuracy` reads a completion that has no answer tags."""

_ARGUMENT = r" *([0-9a-zA-Z]|\\pi|\{(?:[^{}]|\{[^{}]*\})*\})"
_SHORT_ROOT = re.compile(r"\\sqrt *([0-9a-zA-Z]|\\pi)")
_SHORT_FRACTION = re.compile(rf"\\([dt]?frac)(?![a-zA-Z]){_ARGUMENT}{_ARGUMENT}")
_CALCULATOR_NOTE = re.compile(r"<<[^<>\n]*>>")


def grpo_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one in our own format, `answer` allowed in place of `solution`.

    `messages` may be missing: then the problem is the user's one message. A mathematical solution
    has to verify against itself, or ms-swift's `accuracy` would give 0 to every right completion.
    An empty one means that there is none; then `accuracy` gives 0 to all.

    Raises:
        FormatError: if a field is missing or not a text, or the solution does not verify.
    """
    problem = text_of(raw, "problem")
    domain = domain_or_math(raw)
    messages = raw.get("messages") or [{"role": "user", "content": problem}]
    _check_messages(messages)
    structure = raw.get("teacher_structure") or None
    if structure is not None and not isinstance(structure, str):
        raise FormatError(f"teacher_structure is no text: {structure!r:.200}")
    path = raw.get("teacher_reasoning")
    if path is not None or not structure:
        path = text_of(raw, "teacher_reasoning")
    if raw.get("solution"):
        solution = text_of(raw, "solution")
    elif raw.get("solution") == "" and not raw.get("answer"):
        solution = ""
    else:
        solution = boxed(text_of(raw, "answer"))
    if domain == "math" and solution and not verifies(solution):
        raise FormatError(f"gold answer does not verify against itself: {solution!r:.200}")
    return {
        "messages": messages,
        "solution": solution,
        "problem": problem,
        "domain": domain,
        "teacher_reasoning": path,
        "teacher_structure": structure,
    }


def sft_row(raw: Mapping[str, Any]) -> Row:
    """Make an SFT row from one in our own format, which has to end with the assistant's turn.

    Without it ms-swift would train on nothing and not say so.

    Raises:
        FormatError: as `grpo_row`, and if there is no such turn.
    """
    row = grpo_row(raw)
    if row["messages"][-1]["role"] != "assistant":
        raise FormatError(f"no assistant's turn to learn: {row['messages'][-1]!r:.200}")
    return row


def gsm8k_row(raw: Mapping[str, Any]) -> Row:
    """Make a row from one of GSM8K: the worked solution is the teacher's path.

    Calculator notes `<<48/2=24>>` are removed from it, and so is the result line `#### 72`, which
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
    """Say whether a completion that ends in this very gold would be right.

    ms-swift's `accuracy` reads a gold in one way and a completion without answer tags in a
    stricter one. An answer in words is compared as a text.
    """
    if len(solution) > LONGEST_GOLD or _depth(solution) > DEEPEST_GOLD:
        return False
    gold = parse(solution, extraction_mode="first_match", parsing_timeout=60)
    said = parse(
        solution,
        extraction_config=[STRICT],
        extraction_mode="first_match",
        parsing_timeout=60,
    )
    return bool(gold) and bool(said) and bool(verify(gold, said, timeout_seconds=60))


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest


def _braced(argument: str) -> str:
    return argument if argument.startswith("{") else f"{{{argument}}}"


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise FormatError(f"messages is no list: {messages!r:.200}")
    for message in messages:
        if not isinstance(message, Mapping) or not (
            message.get("role") in ("system", "user", "assistant")
            and isinstance(message.get("content"), str)
        ):
            raise FormatError(f"messages has no role and content: {message!r:.200}")
