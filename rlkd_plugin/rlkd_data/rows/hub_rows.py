"""The rows of the paper's data sets, made by pure functions from the rows of the hubs.

OpenR1-Math-220k is the RL data of section 4.1, OpenThoughts-114k the mixed-domain data of
section 4.3, and R-S pairs (section 3.1) are what the GSRM is trained on. A function raises
`FormatError` for a row that cannot be used, as those of `row_format` do.
"""

import re
from collections.abc import Mapping
from typing import Any

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.prompts import decompose_prompt
from rlkd_plugin.gsrm.texts import break_control, has_reasoning, teacher_path
from rlkd_plugin.rlkd_data.rows.generations import (
    teacher_generation,
    teacher_generations,
    wrong_generation,
)
from rlkd_plugin.rlkd_data.rows.golds import boxed, check_gold
from rlkd_plugin.rlkd_data.rows.row_fields import domain_of, domain_or_math, path_of, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

LONGEST_BARE = 80
"""Maximum characters of an answer without a box; a longer text is a derivation."""

_BOXED = re.compile(r"\\boxed *\{")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[^{}]*\})?")
_WORD = re.compile(r"[^\W\d_]{2}")


def openr1_row(raw: Mapping[str, Any]) -> Row:
    """Make a GRPO row from one of OpenR1-Math-220k.

    The teacher's path is the reasoning of the first generation that is correct and complete.

    Raises:
        FormatError: as `grpo_row`, and if no generation can be the teacher's.
    """
    return grpo_row(
        {
            "problem": text_of(raw, "problem"),
            "teacher_reasoning": teacher_path(teacher_generation(raw)),
            "answer": text_of(raw, "answer"),
        }
    )


def openr1_paths(raw: Mapping[str, Any]) -> list[str]:
    """Return the reasoning of each correct and complete generation of a row of OpenR1-Math-220k.

    Raises:
        FormatError: if there is none.
    """
    return [teacher_path(generation) for generation in teacher_generations(raw)]


def openr1_sft_row(raw: Mapping[str, Any]) -> Row:
    """Make an SFT row from one of OpenR1-Math-220k: the teacher's whole generation to learn.

    It keeps the same rows as `openr1_row`, so equal row limits give equal problems.

    Raises:
        FormatError: as `openr1_row`.
    """
    row = openr1_row(raw)
    reply = {"role": "assistant", "content": teacher_generation(raw).strip()}
    return {**row, "messages": [*row["messages"], reply]}


def openr1_pairs_row(raw: Mapping[str, Any]) -> Row:
    """Make a preference row from one of OpenR1-Math-220k, for the reward model of PPO.

    The teacher's generation is preferred to the first that is marked wrong; a complete one comes
    before one that was cut off.

    Raises:
        FormatError: as `openr1_row`, and if no generation is marked wrong.
    """
    return {**openr1_sft_row(raw), "rejected_response": wrong_generation(raw).strip()}


def openthoughts_row(raw: Mapping[str, Any]) -> Row:
    """Make a GRPO row from one of OpenThoughts-114k, subset `metadata`.

    The solution is a ground truth that is only an expression, else the boxed answer of the ground
    truth, else that of the teacher's solution; it is empty where math-verify reads none. Code,
    proofs and most of the sciences have no solution, but a structure to learn from.

    Raises:
        FormatError: if the problem, the domain or the path is missing or unknown.
    """
    problem = text_of(raw, "problem")
    path = text_of(raw, "deepseek_reasoning")
    if not has_reasoning(path):
        raise FormatError(f"deepseek_reasoning has no reasoning: {path!r:.200}")
    domain = domain_of(raw)
    return {
        "messages": [{"role": "user", "content": problem}],
        "solution": _final_answer(raw, domain),
        "problem": problem,
        "domain": domain,
        "teacher_reasoning": path,
        "teacher_structure": None,
    }


def gsrm_sft_row(raw: Mapping[str, Any]) -> Row:
    """Make an SFT row for the GSRM from an R-S pair: `reasoning_path` and its `structure`.

    `teacher_reasoning` and `teacher_structure` may replace the two. The user's message is the
    prompt that the reward sends to a trained GSRM, byte for byte; the structure is written in the
    canonical form.

    Raises:
        FormatError: if a field is missing, or the structure breaks off or has no final answer.
    """
    problem = text_of(raw, "problem")
    domain = domain_or_math(raw)
    path = path_of(raw)
    text = text_of(raw, "structure" if raw.get("structure") else "teacher_structure")
    prompt = decompose_prompt("gsrm", domain, problem, path)
    structure = render_structure(_whole(break_control(text)))
    return {
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": structure},
        ],
        "problem": problem,
        "domain": domain,
        "reasoning_path": path,
        "structure": structure,
    }


def _final_answer(raw: Mapping[str, Any], domain: str) -> str:
    truth, own = raw.get("ground_truth_solution"), raw.get("deepseek_solution")
    answers = [last_boxed(text) for text in (truth, own) if isinstance(text, str)]
    if isinstance(truth, str) and domain == "math" and "\\boxed" not in truth:
        bare = truth.strip()
        if len(bare) <= LONGEST_BARE and not _WORD.search(_COMMAND.sub("", bare)):
            answers.insert(0, bare)
    return next(filter(None, (_solution_or_empty(answer) for answer in answers if answer)), "")


def _solution_or_empty(answer: str) -> str:
    """Return a solution that `accuracy` can compare, or an empty text."""
    try:
        solution = boxed(answer)
        check_gold(solution)
    except FormatError:
        return ""
    return solution


def last_boxed(text: str) -> str | None:
    r"""Return what the last `\boxed{...}` of a text holds, or None.

    Boxes with different contents, as in an answer of several parts, or a box that does not close
    give None too: then the answer is not known.
    """
    found = set()
    for start in (match.end() for match in _BOXED.finditer(text)):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                found.add(text[start:end].strip())
                break
        else:
            return None
    return found.pop() if len(found) == 1 else None


def _whole(text: str) -> Structure:
    try:
        structure = parse_structure(text)
    except FormatError as error:
        raise FormatError(f"the structure has no whole step: {error}") from None
    if not structure.final_answer:  # the parser gives none if a structure breaks off
        raise FormatError(
            "the structure breaks off or has no final answer: after step "
            f"{len(structure.steps)}, {text[-200:]!r}"
        )
    return structure
