"""Chooses the teacher's generation among those of a row: the columns of OpenR1-Math-220k.

`generations` has a mark for each in `correctness_math_verify`, and may have one in
`is_reasoning_complete` and `finish_reasons`. `correctness_llama`, a judge model's opinion of the
golds that math-verify could not compare, is not read: `accuracy` compares by math-verify, and would
call the same generation wrong.
"""

from collections.abc import Mapping
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.gsrm.thinking import split_thinking, thinking_end

END_REASONS = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")
"""Finish reasons of a whole reply; `length` and others mean that it was cut off."""


def teacher_generation(raw: Mapping[str, Any]) -> str:
    """Return the first generation that is marked correct, is complete and has reasoning.

    Raises:
        FormatError: if there is none, with the fault of the first correct one.
    """
    return teacher_generations(raw)[0]


def teacher_generations(raw: Mapping[str, Any]) -> list[str]:
    """Return the generations that are marked correct, are complete and have reasoning.

    Raises:
        FormatError: if there is none, with the fault of the first correct one.
    """
    marks = _marks(raw)
    correct = [index for index, right in enumerate(marks) if right is True]
    if not correct:
        raise FormatError(f"no generation is marked correct: {marks!r:.200}")
    faults = [_fault(raw, index) for index in correct]
    if None not in faults:
        raise FormatError(faults[0])
    generations = raw["generations"]
    return [generations[index] for index, fault in zip(correct, faults, strict=True) if not fault]


def wrong_generation(raw: Mapping[str, Any]) -> str:
    """Return the first generation that is marked wrong, a complete one before one that is not.

    Raises:
        FormatError: if none is marked wrong.
    """
    texts, marks = raw["generations"], _marks(raw)
    wrong = [
        index
        for index, right in enumerate(marks)
        if right is False and isinstance(texts[index], str) and texts[index].strip()
    ]
    if not wrong:
        raise FormatError(f"no generation is marked wrong: {marks!r:.200}")
    return texts[min(wrong, key=lambda index: _incompleteness(raw, index) is not None)]


def _marks(raw: Mapping[str, Any]) -> list[Any]:
    generations, marks = raw.get("generations"), raw.get("correctness_math_verify")
    if not isinstance(generations, list):
        raise FormatError(f"generations is not a list: {generations!r:.200}")
    if not isinstance(marks, list):
        raise FormatError(f"correctness_math_verify is not a list: {marks!r:.200}")
    _check_length(generations, "correctness_math_verify", marks)
    return marks


def _check_length(generations: list[Any], name: str, values: list[Any]) -> None:
    if len(generations) != len(values):
        raise FormatError(
            f"generations and {name} differ in length: {len(generations)} and {len(values)}"
        )


def _value_of(raw: Mapping[str, Any], name: str, index: int) -> Any:
    """Return a generation's value in a column that may be missing or null."""
    values = raw.get(name)
    if values is None:
        return None
    if not isinstance(values, list):
        raise FormatError(f"{name} is not a list: {values!r:.200}")
    _check_length(raw["generations"], name, values)
    return values[index]


def _fault(raw: Mapping[str, Any], index: int) -> str | None:
    """Return why a correct generation cannot be the teacher's, or None if it can."""
    text = raw["generations"][index]
    if not isinstance(text, str):
        return f"the first correct generation is not a text: {text!r:.200}"
    if incomplete := _incompleteness(raw, index):
        return f"the first correct generation is incomplete: {incomplete}"
    path = teacher_path(text)
    if not has_reasoning(path):
        return f"the first correct generation has no reasoning: {path!r:.200}"
    return None


def _incompleteness(raw: Mapping[str, Any], index: int) -> str | None:
    """Return the sign that a generation was cut off, or None if it is complete."""
    text = raw["generations"][index]
    flag = _value_of(raw, "is_reasoning_complete", index)
    reason = _value_of(raw, "finish_reasons", index)
    if flag not in (None, True):
        return f"is_reasoning_complete is {flag!r:.40} for generation {index + 1}"
    if reason and str(reason).lower() not in END_REASONS:
        return f"finish_reasons has {reason!r:.40} for generation {index + 1}"
    if thinking_end(text) is None:
        return f"generation {index + 1} never closes its thinking, {text[-100:]!r}"
    if not split_thinking(text)[1].strip():
        return f"generation {index + 1} has no text after its thinking"
    return None
