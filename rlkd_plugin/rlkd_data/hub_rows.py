"""The rows of the paper's data sets, made by pure functions from the rows of the hubs.

OpenR1-Math-220k is the RL data of section 4.1, OpenThoughts-114k the mixed-domain data of
section 4.3, and R-S pairs (section 3.1) are what the GSRM is trained on. A function raises
`FormatError` for a row that cannot be used, as those of `row_format` do.
"""

from collections.abc import Mapping
from typing import Any

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.prompts import decompose_prompt
from rlkd_plugin.gsrm.texts import has_reasoning, reasoning_path
from rlkd_plugin.rlkd_data.row_format import Row, boxed, domain_of, grpo_row, text_of, verifies

LONGEST_BARE = 80
"""Characters of a solution without a box that can still be an answer, and not a derivation."""


def openr1_row(raw: Mapping[str, Any]) -> Row:
    """Make a GRPO row from one of OpenR1-Math-220k.

    The teacher's path is the reasoning of the first generation that math-verify marked correct.

    Raises:
        FormatError: as `grpo_row`, and if no generation can be the teacher's.
    """
    path = reasoning_path(_first_correct(raw))
    if not has_reasoning(path):
        raise FormatError(f"the first correct generation has no reasoning: {path!r:.200}")
    return grpo_row(
        {
            "problem": text_of(raw, "problem"),
            "teacher_reasoning": path,
            "answer": text_of(raw, "answer"),
        }
    )


def openr1_sft_row(raw: Mapping[str, Any]) -> Row:
    """Make an SFT row from one of OpenR1-Math-220k: the teacher's whole generation to learn.

    The same rows are kept as by `openr1_row`, so equal row limits give equal problems.

    Raises:
        FormatError: as `openr1_row`.
    """
    row = openr1_row(raw)
    reply = {"role": "assistant", "content": _first_correct(raw).strip()}
    return {**row, "messages": [*row["messages"], reply]}


def openthoughts_row(raw: Mapping[str, Any]) -> Row:
    """Make a GRPO row from one of OpenThoughts-114k, subset `metadata`.

    The solution is the final answer of the ground truth, or else of the teacher's own solution,
    where math-verify reads one, and empty elsewhere: code, proofs and most of the sciences have
    none that `accuracy` could check, but a structure to learn from.

    Raises:
        FormatError: if the problem, the domain or the path is missing or unknown.
    """
    problem = text_of(raw, "problem")
    path = reasoning_path(text_of(raw, "deepseek_reasoning"))
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

    `teacher_reasoning` and `teacher_structure` may stand for the two. The user's message is the
    prompt that the reward sends to a trained GSRM, byte for byte; the structure is written in the
    canonical form.

    Raises:
        FormatError: if a field is missing, or the structure has a break or no final answer.
    """
    problem = text_of(raw, "problem")
    domain = domain_of({"domain": "math", **raw})
    path = text_of(raw, "reasoning_path" if raw.get("reasoning_path") else "teacher_reasoning")
    text = text_of(raw, "structure" if raw.get("structure") else "teacher_structure")
    prompt = decompose_prompt("gsrm", domain, problem, path)
    structure = render_structure(_whole(text))
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


def _first_correct(raw: Mapping[str, Any]) -> str:
    generations, correct = raw.get("generations"), raw.get("correctness_math_verify")
    if not isinstance(generations, list):
        raise FormatError(f"generations is no list: {generations!r:.200}")
    if not isinstance(correct, list):
        raise FormatError(f"correctness_math_verify is no list: {correct!r:.200}")
    if len(generations) != len(correct):
        raise FormatError(
            "generations and correctness_math_verify differ in length: "
            f"{len(generations)} and {len(correct)}"
        )
    marked = [text for text, right in zip(generations, correct, strict=True) if right is True]
    if not marked:
        raise FormatError(f"no generation is marked correct: {correct!r:.200}")
    if not isinstance(marked[0], str):
        raise FormatError(f"the first correct generation is no text: {marked[0]!r:.200}")
    return marked[0]


def _final_answer(raw: Mapping[str, Any], domain: str) -> str:
    for name in ("ground_truth_solution", "deepseek_solution"):
        text = raw.get(name)
        if not isinstance(text, str):
            continue
        answer = last_boxed(text)
        bare = text.strip()
        if answer is None and domain == "math" and len(bare) <= LONGEST_BARE and verifies(bare):
            answer = bare
        if answer and verifies(boxed(answer)):
            return boxed(answer)
    return ""


def last_boxed(text: str) -> str | None:
    r"""Return what the last `\boxed{...}` of a text holds, or None if there is none that closes."""
    start = text.rfind("\\boxed{")
    depth = 0
    for place in range(start + len("\\boxed"), len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[start + len("\\boxed{") : place].strip()
    return None


def _whole(text: str) -> Structure:
    structure = parse_structure(text)
    if not structure.final_answer:  # the parser leaves it out where a structure has a break
        raise FormatError(
            f"the structure breaks off after step {len(structure.steps)}, or has no final answer: "
            f"{text[-200:]!r}"
        )
    return structure
