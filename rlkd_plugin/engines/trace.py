"""The trace: one JSON line a completion, with all that is needed to compute its reward again.

`TraceRow` is the one schema, of the rewards that write lines and of the report that reads them. A
line of another version is read too: unknown keys are skipped, absent ones have defaults.
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

    `status`, `clipped`, `cut`, `reply`, `stopped_early` and `unfinished` are as
    `engines.base.Decomposition` has them. A student that was stopped early has at least these
    steps.
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
    """The answer to one Match of Algorithm 1; `field` and `source` as `engines.base` names them."""

    number: int
    field: str
    matched: bool
    probability: float | None = None
    source: str = ""


class BranchRow(msgspec.Struct, frozen=True):
    """One of several branches of a teacher, and how the completion did against it.

    Attributes:
        teacher: S^t of the branch.
        verdicts: those that were asked for and count, in the order of Algorithm 1.
        step_scores: v of each step reached; empty where the walk was left, as the branch could not
            win any more, or the branch has no structure.
        least: the lowest reward, on the run's scale, that it could have had.
        most: the highest; both are its reward where the walk came to its end.
    """

    teacher: Side
    verdicts: tuple[VerdictRow, ...] = ()
    step_scores: tuple[float, ...] = ()
    least: float = 0.0
    most: float = 0.0


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One completion and how its reward came about.

    Attributes:
        version: of the format.
        step: optimizer steps before the completion, None where it is of no training.
        prompt_id: ms-swift's, None where it gives none.
        request_id: ms-swift's, None where it gives none.
        cut_off: whether the completion ended at the length limit.
        problem: of a candidate of `swift sample`.
        completion: text of a candidate of `swift sample`.
        is_ground_truth: whether a candidate of `swift sample` is the teacher's path.
        teacher: S^t, of the branch that won where there are several.
        student: S^s.
        verdicts: in the order in which Algorithm 1 asks for them.
        step_scores: v of each step reached.
        total: r.
        reward: r on the run's scale; None where the teacher has no structure.
        beyond_teacher: whether the student follows the teacher through its last step and begins
            another.
        branch: the number, from 0, of the branch that won.
        branches: all branches of the teacher where there are several, else none.
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
        reward: that ms-swift gets.
        **about: fields of `TraceRow` that say which completion it is.
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
    """Compute a trace line's reward again, by Algorithm 1 from its structures and verdicts.

    Returns:
        The reward, or None where a side had no structure.

    Raises:
        FormatError: if the verdicts are not exactly those that Algorithm 1 asks for, or the
            student's fields do not reach the walk's end.
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
    """Append whole lines to a trace in one write; half a line that a kill left stays apart."""
    append_lines(file, b"".join(map(_line, rows)))


def read_rows(file: Path) -> Iterator[TraceRow]:
    """Yield the lines of a trace; a line that a kill cut off is skipped."""
    for _, line in numbered_lines(file):
        if (row := parse_row(line)) is not None:
            yield row


def parse_row(line: bytes) -> TraceRow | None:
    """Return a line of a trace, or None for what is none."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line(row: TraceRow) -> bytes:
    try:
        return _encoder.encode(row) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which a model's reply may hold
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
