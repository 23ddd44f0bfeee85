"""The trace: one JSON line a completion, with all data to recompute its reward.

`TraceRow` is the schema for the rewards, which write lines, and for the report, which reads them.
Lines of other versions can be read: unknown keys are skipped, missing ones have defaults.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.scoring import Branch, Score
from rlkd_plugin.gsrm import (
    FormatError,
    Question,
    Step,
    Structure,
    StructuredReward,
    Walk,
)
from rlkd_plugin.rlkd_files import append_lines, numbered_lines

VERSION = 1


class Side(msgspec.Struct, frozen=True):
    """A teacher's or student's structure; `steps` hold meta-reasoning, sub-problem, answer.

    `status`, `clipped`, `cut`, `reply`, `stopped_early` and `unfinished` are those of
    `engines.base.Decomposition`. A student that was stopped early may have more steps.
    """

    status: str = "ok"
    clipped: bool = False
    steps: tuple[tuple[str, str, str], ...] = ()
    final_answer: str = ""
    cut: bool = False
    reply: str = ""
    stopped_early: bool = False
    unfinished: tuple[str, ...] = ()


class VerdictRow(msgspec.Struct, frozen=True):
    """The answer to one Match of Algorithm 1; `field` and `source` as in `engines.base`."""

    number: int
    field: str
    matched: bool
    probability: float | None = None
    source: str = ""


class BranchRow(msgspec.Struct, frozen=True):
    """One of several branches of a teacher, and the completion's result against it.

    Attributes:
        teacher: S^t of the branch.
        verdicts: the verdicts received that count, in the order of Algorithm 1.
        step_scores: v of each step reached; empty if the branch was dropped as it could not win,
            or has no structure.
        least: the lowest possible reward, on the run's scale.
        most: the highest; both equal the reward if the walk was completed.
    """

    teacher: Side
    verdicts: tuple[VerdictRow, ...] = ()
    step_scores: tuple[float, ...] = ()
    least: float = 0.0
    most: float = 0.0


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One completion, and how its reward was computed.

    Attributes:
        version: of the format.
        step: optimizer steps before the completion; None outside training.
        prompt_id: ms-swift's, or None.
        request_id: ms-swift's, or None.
        cut_off: whether the completion reached the length limit.
        problem: of a candidate of `swift sample`.
        completion: text of a candidate of `swift sample`.
        is_ground_truth: whether a candidate of `swift sample` is the teacher's path.
        teacher: S^t; of several branches, the one that won.
        student: S^s.
        verdicts: in the order of Algorithm 1.
        step_scores: v of each step reached.
        total: r.
        reward: r on the run's scale; None if the teacher has no structure.
        beyond_teacher: whether the student matches the teacher to its last step and begins
            another.
        branch: the index of the branch that won.
        branches: all branches of the teacher if there are several, else empty.
    """

    version: int = VERSION
    step: int | None = None
    prompt_id: str | int | None = None
    request_id: str | int | None = None
    cut_off: bool = False
    problem: str = ""
    completion: str = ""
    is_ground_truth: bool = False
    teacher: Side
    student: Side
    verdicts: tuple[VerdictRow, ...] = ()
    step_scores: tuple[float, ...] = ()
    total: float = 0.0
    reward: float | None = None
    beyond_teacher: bool = False
    branch: int = 0
    branches: tuple[BranchRow, ...] = ()


_decoder = msgspec.json.Decoder(TraceRow)
_encoder = msgspec.json.Encoder()


def trace_row(score: Score, reward: float | None, **about: Any) -> TraceRow:
    """Return the trace line of one completion.

    Args:
        score: of the completion.
        reward: given to ms-swift.
        **about: fields of `TraceRow` that identify the completion.
    """
    return TraceRow(
        teacher=_side(score.teacher),
        student=_side(score.student),
        verdicts=_verdicts(score.verdicts),
        step_scores=score.reward.steps if score.reward else (),
        total=score.reward.total if score.reward else 0.0,
        reward=reward,
        beyond_teacher=score.beyond_teacher,
        branch=score.branch,
        branches=tuple(map(_branch, score.branches)),
        **about,
    )


def _branch(branch: Branch) -> BranchRow:
    found = branch.outcome
    scores = found.reward.steps if found.reward else ()
    verdicts = _verdicts(found.verdicts)
    return BranchRow(_side(branch.teacher), verdicts, scores, found.least, found.most)


def _verdicts(verdicts: Sequence[tuple[Question, Verdict]]) -> tuple[VerdictRow, ...]:
    return tuple(
        VerdictRow(
            question.number,
            question.field,
            verdict.matched,
            verdict.probability,
            verdict.source,
        )
        for question, verdict in verdicts
    )


def replay(row: TraceRow) -> StructuredReward | None:
    """Recompute a trace line's reward by Algorithm 1 from its structures and verdicts.

    Returns:
        The reward, or None if a side has no structure.

    Raises:
        FormatError: if the verdicts are not exactly those of Algorithm 1, or the student's fields
            end before the walk does.
    """
    if not (row.teacher.steps and row.student.steps):
        return None
    teacher, student = (
        Structure(tuple(Step(*step) for step in side.steps)) for side in (row.teacher, row.student)
    )
    walk = Walk(teacher.steps)
    unfinished = row.student.unfinished
    walk.read([*student.fields, *unfinished], is_whole=not unfinished)
    verdicts = iter(row.verdicts)
    while questions := walk.questions():
        for question in questions:
            verdict = next(verdicts, None)
            if verdict is None or verdict.field != question.field:
                found = verdict.field if verdict else "nothing more"
                raise FormatError(f"the trace has a verdict on {found} instead of {question.field}")
            walk.answer(question, verdict.matched)
    if (left := next(verdicts, None)) is not None:
        raise FormatError(f"the trace has a verdict that Algorithm 1 does not ask for: {left}")
    if not walk.is_over:
        raise FormatError("the student was stopped before the walk of Algorithm 1 was over")
    return walk.reward()


def append_rows(file: Path, rows: Iterable[TraceRow]) -> None:
    """Append whole lines to a trace in one write; a half line before them stays separate."""
    append_lines(file, b"".join(map(_line, rows)))


def read_rows(file: Path) -> Iterator[TraceRow]:
    """Yield the lines of a trace; unreadable lines, such as half lines, are skipped."""
    for _, line in numbered_lines(file):
        if (row := parse_row(line)) is not None:
            yield row


def parse_row(line: bytes) -> TraceRow | None:
    """Return a line of a trace, or None if it cannot be read."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line(row: TraceRow) -> bytes:
    try:
        return _encoder.encode(row) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which a model's reply may hold
        text = json.dumps(msgspec.to_builtins(row), ensure_ascii=False)
        return text.encode("utf-8", errors="replace") + b"\n"


def _side(decomposition: Decomposition) -> Side:
    structure = decomposition.structure
    return Side(
        decomposition.status,
        decomposition.clipped,
        tuple((s.meta_reasoning, s.sub_problem, s.answer) for s in structure.steps)
        if structure
        else (),
        structure.final_answer if structure else "",
        decomposition.cut,
        decomposition.reply,
        decomposition.stopped_early,
        decomposition.unfinished,
    )
