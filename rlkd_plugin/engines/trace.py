"""The trace: one JSON line a completion, with all that is needed to compute its reward again."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.scoring import Score
from rlkd_plugin.gsrm import (
    Field,
    FormatError,
    Step,
    Structure,
    StructuredReward,
    structured_reward,
)

VERSION = 1


def trace_row(score: Score, reward: float | None, **about: Any) -> dict[str, Any]:
    """Return the trace line of one completion; `about` says which completion it is."""
    return {
        "version": VERSION,
        **about,
        "teacher": _side(score.teacher),
        "student": _side(score.student),
        "verdicts": [
            {
                "number": question.number,
                "field": question.field,
                "matched": verdict.matched,
                "probability": verdict.probability,
                "source": verdict.source,
            }
            for question, verdict in score.verdicts
        ],
        "step_scores": list(score.reward.steps) if score.reward else [],
        "total": score.reward.total if score.reward else 0.0,
        "reward": reward,
    }


def replay(row: Mapping[str, Any]) -> StructuredReward | None:
    """Compute a trace line's reward again, by Algorithm 1 from its structures and verdicts.

    Returns:
        The reward, or None where a side had no structure.

    Raises:
        FormatError: if the verdicts are not exactly those that Algorithm 1 asks for.
    """
    sides = [row[side]["steps"] for side in ("teacher", "student")]
    if not all(sides):
        return None
    teacher, student = (Structure(tuple(Step(*step) for step in steps)) for steps in sides)
    verdicts = iter(row["verdicts"])

    def match(field: Field, teacher_text: str, student_text: str) -> bool:
        verdict = next(verdicts, {"field": "nothing more"})
        if verdict["field"] != field:
            raise FormatError(f"the trace has a verdict on {verdict['field']} instead of {field}")
        return bool(verdict["matched"])

    reward = structured_reward(teacher, student, match)
    if (left := next(verdicts, None)) is not None:
        raise FormatError(f"the trace has a verdict that Algorithm 1 does not ask for: {left}")
    return reward


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append whole lines to a trace in one write; half a line that a kill left stays apart."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            lines = lines if file.read(1) == b"\n" else "\n" + lines
        file.write(lines.encode("utf-8", errors="replace"))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a trace; what a kill left of a line is left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _side(decomposition: Decomposition) -> dict[str, Any]:
    structure = decomposition.structure
    return {
        "status": decomposition.status,
        "clipped": decomposition.clipped,
        "steps": [[s.meta_reasoning, s.sub_problem, s.answer] for s in structure.steps]
        if structure
        else [],
        "final_answer": structure.final_answer if structure else "",
    }
