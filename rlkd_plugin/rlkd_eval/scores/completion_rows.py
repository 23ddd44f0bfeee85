"""Reads the completions of a source row, in each of four formats.

The columns of a row show its format. Rows in our own format have a
`completion` or `completions`. ms-swift's `completions.jsonl` has a table of a step a line, or, from
Megatron with Ray, a completion a line. `swift infer` writes a `response` beside the `messages`.
`rlkd eval` writes a response beside the number of its problem (`evaluated_problems`). Not here:
where a completion's teacher comes from if its row has none (`teachers`).
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.row_fields import text_of
from rlkd_plugin.rlkd_eval.eval_samples import CUT_OFF
from rlkd_plugin.rlkd_eval.scores.teacher_rows import COLUMNS, Teacher, read_teacher

FLAGS = ("is_truncated", "cut_off")
"""Columns that say whether a completion was cut off: ms-swift's name, and the trace's."""
WORDS = {"true": True, "false": False, "1": True, "0": False}
"""Flags in CSV and TSV, where all values are texts."""


class Form(enum.Enum):
    """The format of a row with completions; a source has rows of one format."""

    OWN = "a row with a problem and its completion or completions"
    TRAINING = "a line of ms-swift's completions.jsonl"
    INFERENCE = "a result of `swift infer`"
    EVALUATION = "a sample of `rlkd eval`"


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion of a source.

    Attributes:
        text: the completion.
        asked: the problem; or, where `is_prompt`, the prompt that the model got.
        is_prompt: whether `asked` may hold more than the problem.
        teacher: of the row's own columns, or None.
        cut_off: whether it ended at its length limit; False if unknown.
        step: optimizer steps before it, where it is of a training.
    """

    text: str
    asked: str
    is_prompt: bool = False
    teacher: Teacher | None = None
    cut_off: bool = False
    step: int | None = None


def form_of(raw: Mapping[str, Any]) -> Form | None:
    """Return the format of a row, None where it has no completion."""
    if "completion" in raw or "completions" in raw:
        return Form.OWN if "problem" in raw or "prompt" not in raw else Form.TRAINING
    if "response" not in raw:
        return None
    return Form.EVALUATION if {"problem", "sample", "right"} <= raw.keys() else Form.INFERENCE


def read_row(
    form: Form, raw: Mapping[str, Any], problems: Mapping[str, str]
) -> list[Completion | FormatError]:
    """Return the completions of a row, or an error for one that cannot be scored.

    Args:
        form: the format of the source.
        raw: a row of this format.
        problems: the prompts of an evaluation, by the number of the problem.

    Raises:
        FormatError: if the row has no completion that can be scored.
    """
    if form is Form.OWN:
        return _own(raw)
    if form is Form.TRAINING:
        return _training(raw)
    if form is Form.INFERENCE:
        return [_inference(raw)]
    return [_evaluation(raw, problems)]


def _own(raw: Mapping[str, Any]) -> list[Completion | FormatError]:
    text_of(raw, "problem")
    teacher = read_teacher(raw)
    if raw.get("completions") in (None, ""):
        texts: Sequence[Any] = [raw.get("completion")]
    elif raw.get("completion") is not None:
        raise FormatError("both completion and completions: give one of them")
    else:
        texts = _list(raw, "completions")
    flags = _flags(raw, len(texts))
    asked = teacher.problem if teacher else str(raw["problem"])
    return [
        _completion(text, asked, teacher=teacher, cut_off=flag)
        for text, flag in zip(texts, flags, strict=True)
    ]


def _training(raw: Mapping[str, Any]) -> list[Completion | FormatError]:
    if not isinstance(raw["prompt"], list):
        return [_completion(raw.get("completion"), raw["prompt"], True, step=_step(raw, 0))]
    prompts, texts = _list(raw, "prompt"), _list(raw, "completion")
    if len(prompts) != len(texts):
        raise FormatError(
            f"prompt and completion differ in length: {len(prompts)} and {len(texts)}"
        )
    return [
        _completion(text, prompt, True, step=_step(raw, number))
        for number, (text, prompt) in enumerate(zip(texts, prompts, strict=True))
    ]


def _inference(raw: Mapping[str, Any]) -> Completion | FormatError:
    has_teacher = any(raw.get(name) for name in COLUMNS)
    teacher = read_teacher(raw) if has_teacher and raw.get("problem") else None
    (flag,) = _flags(raw, 1)
    asked = raw.get("problem") or _last_question(raw.get("messages"))
    is_prompt = not raw.get("problem")
    return _completion(raw["response"], asked, is_prompt, teacher=teacher, cut_off=flag)


def _evaluation(raw: Mapping[str, Any], problems: Mapping[str, str]) -> Completion | FormatError:
    number = raw["problem"]
    if not isinstance(number, str) or number not in problems:
        raise FormatError(f"the evaluation has no such problem: {number!r:.200}")
    cut_off = raw.get("stop") in CUT_OFF
    return _completion(raw["response"], problems[number], True, cut_off=cut_off)


def _completion(
    text: Any, asked: Any, is_prompt: bool = False, **about: Any
) -> Completion | FormatError:
    if not isinstance(text, str):
        return FormatError(f"the completion is not a text: {text!r:.200}")
    if not isinstance(asked, str) or not asked.strip():
        return FormatError(f"the prompt is not a text: {asked!r:.200}")
    return Completion(text, asked, is_prompt, **about)


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    if not isinstance(value, list):
        raise FormatError(f"{name} is not a list: {value!r:.200}")
    return value


def _flags(raw: Mapping[str, Any], count: int) -> list[bool]:
    """Return whether each of a row's completions was cut off.

    Raises:
        FormatError: if a value is not a flag, or their number differs from the completions'.
    """
    name = next((name for name in FLAGS if raw.get(name) not in (None, "")), None)
    if name is None:
        return [False] * count
    values = raw[name] if isinstance(raw[name], list) else [raw[name]] * count
    if len(values) != count:
        raise FormatError(f"{name} and the completions differ in length: {len(values)} and {count}")
    values = [WORDS.get(v.lower(), v) if isinstance(v, str) else v for v in values]
    if any(value not in (True, False, None) for value in values):
        raise FormatError(f"{name} is neither true nor false: {raw[name]!r:.200}")
    return [bool(value) for value in values]


def _step(raw: Mapping[str, Any], number: int) -> int | None:
    """Return the optimizer steps before a completion of a training.

    `step` is logged when it is done, `gen_step` before it begins.
    """
    for name, before in (("step", 1), ("gen_step", 0)):
        value = raw.get(name)
        value = value[number] if isinstance(value, list) and number < len(value) else value
        if isinstance(value, int | str) and str(value).isdecimal() and len(str(value)) < 10:
            return max(0, int(value) - before)
    return None


def _last_question(messages: Any) -> str | None:
    """Return the text of the last user message, None where there is none."""
    found = None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, Mapping) and message.get("role") == "user":
            found = message.get("content")
    return found if isinstance(found, str) else None
