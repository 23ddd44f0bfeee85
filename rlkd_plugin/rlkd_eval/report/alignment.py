"""What the alignment view shows, as JSON values: a run's sampled completions, step by step."""

from collections.abc import Sequence
from typing import Any

from rlkd_plugin.engines.trace import Side, TraceRow
from rlkd_plugin.rlkd_eval.report.curves import printable
from rlkd_plugin.rlkd_eval.report.sources import Source
from rlkd_plugin.rlkd_eval.report.walk_ends import disagreement, explain, why_ended


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
        "why": why_ended(row),
        "explained": explain(row),
        "wrong": disagreement(row),
        "reward": row.reward,
        "total": row.total,
        "scores": row.step_scores,
        "teacher": _side(row.teacher),
        "student": _side(row.student),
        "verdicts": [[v.number, v.field, v.matched, v.probability, v.source] for v in row.verdicts],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "status": side.status,
        "steps": side.steps,
        "unfinished": side.unfinished,
        "stopped": side.stopped_early,
        "final": side.final_answer,
    }
