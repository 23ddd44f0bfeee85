"""Explains from a trace line why the walk of Algorithm 1 through a completion's steps ended."""

from rlkd_plugin.engines.trace import Side, TraceRow, VerdictRow, replay
from rlkd_plugin.engines.walk_end import WalkEnd, walk_end
from rlkd_plugin.gsrm import FormatError

ENDINGS: dict[WalkEnd, str] = {
    "teacher_end": "the teacher's steps ended",
    "student_end": "the student's steps ended",
    "meta_reasoning": "a meta-reasoning did not match",
    "undecomposable": "the student's text has no structure",
    "refused": "the GSRM rejected the student's text",
    "no_teacher": "the teacher has no structure",
    "unclear": "not known from the trace line",
}
"""Reasons why a walk ends, the best first."""

MOST = 200  # characters shown of a reply without a structure


def is_longer_than_teacher(row: TraceRow) -> bool:
    """Return whether the student matches the teacher through its last step and begins another."""
    has_more = len(row.student.steps) > len(row.teacher.steps)
    return row.beyond_teacher or (has_more and walk_end(row) == "teacher_end")


def explain(row: TraceRow) -> str:
    """Explain why the walk ended, and what else decided the reward."""
    why, reached = walk_end(row), len(row.step_scores)
    parts = [ENDINGS[why]]
    if why == "meta_reasoning":
        parts = [f"the meta-reasoning of step {reached} did not match"]
        if any(v.source == "refused" for v in row.verdicts if _is_meta(v, reached)):
            parts = [f"the judge rejected the meta-reasoning of step {reached}: not matched"]
    elif why in ("student_end", "teacher_end"):
        more = "at least " if row.student.stopped_early and why == "teacher_end" else ""
        counts = f"the student has {more}{len(row.student.steps)}"
        counts += f", the teacher {len(row.teacher.steps)}"
        parts.append(f"{reached} compared, {counts}")
        if is_longer_than_teacher(row):
            parts.append("the student continues beyond the teacher's last step")
    elif why == "no_teacher":
        parts.append(f"its status is {row.teacher.status}; such completions get no reward")
    if row.cut_off:
        parts.append("the completion was cut off at the length limit")
        if row.total and not row.reward:
            parts.append("so that its reward is 0")
    if row.student.stopped_early:
        parts.append(
            "the GSRM was stopped before the end of the student's structure: the rest cannot "
            "change the reward"
        )
    for side, who in ((row.teacher, "teacher"), (row.student, "student")):
        if side.clipped:
            parts.append(f"the {who}'s text was too long for the GSRM and lost its end")
        if side.cut:
            parts.append(f"the {who}'s structure was cut at the GSRM's token limit")
        if not side.steps and side.reply:
            parts.append(quote_reply(who, side))
    return "; ".join(parts)


def disagreement(row: TraceRow) -> str:
    """Run Algorithm 1 again, and return its disagreement with the line; empty if none."""
    try:
        reward = replay(row)
    except FormatError as error:
        return str(error)
    if reward is not None and reward.total != row.total:
        return f"Algorithm 1 gives {reward.total:g}, the trace says {row.total:g}"
    return ""


def quote_reply(who: str, side: Side) -> str:
    """Quote the GSRM's reply that has no structure."""
    reply = f"{side.reply[:MOST]}…" if len(side.reply) > MOST else side.reply
    return f"in place of the {who}'s structure the GSRM wrote: {reply}"


def _is_meta(verdict: VerdictRow, number: int) -> bool:
    return verdict.field == "meta_reasoning" and verdict.number == number
