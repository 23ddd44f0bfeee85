"""The data of the alignment view as JSON values: sampled completions, step by step."""

from collections.abc import Sequence
from typing import Any

from rlkd_plugin.engines.trace import Side, TraceRow, VerdictRow
from rlkd_plugin.engines.walk_end import walk_end
from rlkd_plugin.rlkd_eval.report.branch_ends import (
    OtherBranch,
    explain_branch,
    other_branches,
)
from rlkd_plugin.rlkd_eval.report.curves import printable
from rlkd_plugin.rlkd_eval.report.sources import Source
from rlkd_plugin.rlkd_eval.report.walk_ends import (
    disagreement,
    explain,
    is_longer_than_teacher,
)


def alignment(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return the runs that have traces, each with its steps, each with its completions."""
    return [
        {
            "name": printable(source.name),
            "steps": [
                {
                    # a trace counts the steps done before, a log the step that is trained
                    "label": "no step" if step is None else str(step + 1),
                    "of": source.traces.seen[step],
                    "rows": [_completion(row) for row in rows],
                }
                for step, rows in source.traces.steps()
            ],
        }
        for source in sources
        if source.traces and source.traces.rows
    ]


def _completion(row: TraceRow) -> dict[str, Any]:
    return {
        "prompt": "" if row.prompt_id is None else str(row.prompt_id),
        "problem": row.problem,
        "why": walk_end(row),
        "explained": explain(row),
        "wrong": disagreement(row),
        "reward": row.reward,
        "total": row.total,
        "scores": row.step_scores,
        "teacher": _side(row.teacher),
        "student": _side(row.student),
        "verdicts": _verdicts(row.verdicts),
        "beyond": is_longer_than_teacher(row),
        **(_branches(row) if row.branches else {}),
    }


def _branches(row: TraceRow) -> dict[str, Any]:
    """Return the further data of a completion with several branches.

    The completion itself is compared with the branch that won; `others` hold the other branches.
    """
    best = max(branch.least for branch in row.branches)
    return {
        "number": row.branch + 1,
        "how": "won",
        "least": best,
        "most": best,
        "others": [_other(branch, best) for branch in other_branches(row)],
    }


def _other(branch: OtherBranch, best: float) -> dict[str, Any]:
    return {
        "number": branch.number,
        "how": branch.how,
        "least": branch.least,
        "most": branch.most,
        "why": walk_end(branch.row),
        "explained": explain_branch(branch, best),
        "wrong": branch.wrong,
        "scores": branch.row.step_scores,
        "teacher": _side(branch.row.teacher),
        "verdicts": _verdicts(branch.row.verdicts),
        "beyond": is_longer_than_teacher(branch.row),
    }


def _verdicts(verdicts: Sequence[VerdictRow]) -> list[list[Any]]:
    return [[v.number, v.field, v.matched, v.probability, v.source] for v in verdicts]


def _side(side: Side) -> dict[str, Any]:
    return {
        "status": side.status,
        "steps": side.steps,
        "unfinished": side.unfinished,
        "stopped": side.stopped_early,
        "final": side.final_answer,
    }
