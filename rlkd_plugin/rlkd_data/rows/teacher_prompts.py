"""`teacher_prompt`: the prompt of the teacher in ms-swift's self-distillation (OPSD).

There student and teacher are one model. The student reads the last user's message. The teacher
reads this text instead: the same message with a reference solution. It then scores each token that
the student wrote. The form is that of ms-swift's example, `examples/train/rlhf/opsd`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.texts import break_control
from rlkd_plugin.rlkd_data.rows.row_files import Row

PROMPT = "teacher_prompt"
REFERENCE = "Here is a reference solution of this problem:"
INSTRUCTION = (
    "Understand the reference solution and the reason for each of its steps. Then solve the "
    "problem step by step in your own words."
)


def add_teacher_prompt(make_row: Callable[[Mapping[str, Any]], Row], raw: Mapping[str, Any]) -> Row:
    """Make a row with `teacher_prompt`, from the last user's message and the teacher's path.

    It replaces one that the row has. Chat-control tokens of the path are broken.

    Raises:
        FormatError: as `make_row`, and if the row has no path or no user's message.
    """
    row = make_row(raw)
    path, question = row["teacher_reasoning"], last_question(row["messages"])
    if not path:
        raise FormatError(f"no teacher_reasoning to make teacher_prompt from: {path!r}")
    if question is None:
        messages = row["messages"]
        raise FormatError(f"no user's message to make teacher_prompt from: {messages!r:.200}")
    solution = break_control(path)
    return {**row, PROMPT: f"{question}\n\n{REFERENCE}\n{solution}\n\n{INSTRUCTION}"}


def read_teacher_prompt(raw: Mapping[str, Any]) -> Row:
    """Return the column `teacher_prompt` of a row in our own format; nothing where it is empty.

    Raises:
        FormatError: if it is not a text.
    """
    value = raw.get(PROMPT)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"teacher_prompt is not a text: {value!r:.200}")
    return {PROMPT: value} if value and value.strip() else {}


def last_question(messages: Sequence[Mapping[str, str]]) -> str | None:
    """Return the last user's message, which ms-swift replaces by `teacher_prompt`."""
    contents = [message["content"] for message in messages if message["role"] == "user"]
    return contents[-1] if contents else None
