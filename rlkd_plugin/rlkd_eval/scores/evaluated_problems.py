"""Reads the prompts of an evaluation.

Its samples name problems by number alone. The prompts are in evalscope's files, in the evaluation's
folder `evalscope`, beside `samples`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_files import json_lines


def evaluated_problems(samples: Path) -> dict[str, str]:
    """Return the prompt of each problem, by the problem's number.

    Args:
        samples: the file of a test set, `OUT/samples/SET.jsonl`.

    Raises:
        RlkdError: if evalscope's files are missing, or a line is not as evalscope writes it.
    """
    reviews = samples.parent.parent / "evalscope" / samples.stem / "reviews" / "model"
    found: dict[str, str] = {}
    for file in sorted(reviews.glob("*.jsonl")):
        for line, row in json_lines(file):
            try:
                if isinstance(row, FormatError):
                    raise row
                group = row["sample_score"]["group_id"]
                found.setdefault(f"{file.stem}:{group}", _question(row["messages"]))
            except (FormatError, LookupError, TypeError, AttributeError) as error:
                raise RlkdError(
                    f"{file}:{line} is not a line that evalscope writes here ({error!r}); run "
                    "`rlkd eval OUT --rescore`, which writes it anew"
                ) from None
    if not found:
        raise RlkdError(
            f"{samples} has only the numbers of its problems; their texts are missing from "
            f"{reviews}. Name the samples in the evaluation's own folder"
        )
    return found


def _question(messages: list[Mapping[str, Any]]) -> str:
    """Return the text of the last user message."""
    content = [message["content"] for message in messages if message["role"] == "user"][-1]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if "text" in part)
