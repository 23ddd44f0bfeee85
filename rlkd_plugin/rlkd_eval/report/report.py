"""Turns folders into the page of `rlkd report`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rlkd_plugin import __version__
from rlkd_plugin.rlkd_data.snapshots import checkpoint_step
from rlkd_plugin.rlkd_eval.comparison import Comparison
from rlkd_plugin.rlkd_eval.report import (
    arm_figures,
    branch_figures,
    eval_figures,
    reward_figures,
    run_figures,
    score_figures,
)
from rlkd_plugin.rlkd_eval.report.alignment import alignment
from rlkd_plugin.rlkd_eval.report.page import Input, Page, Section, render
from rlkd_plugin.rlkd_eval.report.sources import Source, read_sources
from rlkd_plugin.rlkd_eval.report.tables import table_1
from rlkd_plugin.rlkd_eval.result_values import distinguish
from rlkd_plugin.rlkd_eval.results import Evaluation

REPORT = "report.html"
MOST_NAMES = 3  # folders in the title
HELD_OUT = (
    " Figure 3, on held-out problems: the structure reward and the matched depth of responses, and "
    "how many responses have more steps than their teacher."
)


def write_report(folders: Sequence[Path], out: Path | None = None) -> tuple[Path, list[str]]:
    """Write the page; return its path, and remarks for its reader.

    Args:
        folders: runs, evaluations, scored completions, measurements of diversity and comparisons.
        out: the file; None for `report.html` in the first folder with content, or in the folder
            above it for one of a run's models.

    Raises:
        RlkdError: if none of the folders holds anything that can be shown.
    """
    sources = read_sources(folders)
    if out is None:
        first = next(s.folder for s in sources if not s.is_empty)
        is_one_of_many = checkpoint_step(first) is not None and first.parent in folders
        out = (first.parent if is_one_of_many else first) / REPORT
    # a path may hold bytes that are not text
    out.write_text(render(page_of(sources, datetime.now())), "utf-8", errors="replace")
    return out, [f"{source.name}: {remark}" for source in sources for remark in source.remarks]


def page_of(sources: Sequence[Source], now: datetime) -> Page:
    """Return the content of the page."""
    names = ", ".join(source.name for source in sources[:MOST_NAMES])
    more = f" and {len(sources) - MOST_NAMES} more" if len(sources) > MOST_NAMES else ""
    origin = f"Made by rlkd {__version__} on {now:%Y-%m-%d at %H:%M}."
    inputs = [Input(s.name, str(s.folder), _holds(s), s.remarks) for s in sources]
    sections = [
        *_of_comparisons(sources),
        *_of_training(sources),
        *_of_results(sources),
        _of_scores(sources),
        _of_walks(sources),
    ]
    return Page(f"RLKD report: {names}{more}", origin, inputs, sections, alignment(sources))


def _of_comparisons(sources: Sequence[Source]) -> list[Section]:
    found = distinguish([(s.name, s.comparison) for s in sources if s.comparison])
    return [s for place, one in enumerate(found) for s in _of_comparison(place, one)]


def _of_comparison(place: int, comparison: Comparison) -> list[Section]:
    costs = arm_figures.cost_table(comparison)
    return [
        Section(
            f"paired-{place}",
            f"Paired differences: {comparison.label}",
            "Two arms (ways to train) on the same problems: the first minus the second.",
            lead=comparison.about,
            charts=arm_figures.forests(f"paired-{place}", comparison),
        ),
        Section(
            f"costs-{place}",
            f"Compute: {comparison.label}",
            "Arms of equal steps are not arms of equal compute.",
            tables=[costs] if costs else [],
        ),
    ]


def _of_training(sources: Sequence[Source]) -> list[Section]:
    health, notes = run_figures.health(sources)
    rewards = reward_figures.reward_table(sources)
    return [
        Section(
            "training",
            "Training",
            "Figure 3 of the paper: accuracy, rewards and matched depth over the steps.",
            charts=run_figures.training(sources),
        ),
        Section(
            "rewards",
            "Where the reward comes from",
            "A group is the completions of one problem in one step. Its advantages come from the "
            "differences of the weighted rewards in it. A reward's share is its part of the "
            "variance of the advantages inside groups: the reward with the largest share steers "
            "the training.",
            tables=[rewards] if rewards else [],
            charts=reward_figures.share_charts(sources),
        ),
        Section(
            "branches",
            "Branches of the teacher",
            "Where RLKD_BRANCHES is more than 1, a completion is compared with several paths of "
            "its teacher, and the best reward counts.",
            charts=branch_figures.branches(sources),
        ),
        Section(
            "health",
            "Health",
            "How often the reward had nothing to score, what it cost, and the distance between the "
            "policy that wrote the completions and the student that learned from them.",
            charts=health,
            notes=notes,
        ),
        Section(
            "structured",
            "GSRM training",
            "Structured fine-grained training: the loss of both sets, and the weights a and b of "
            "equation 1.",
            charts=run_figures.structured_training(sources),
        ),
    ]


def _of_results(sources: Sequence[Source]) -> list[Section]:
    evaluations = _checkpoints(sources)
    measured = distinguish([(s.name, s.diversity) for s in sources if s.diversity])
    last = _last_of_runs(evaluations)
    table = table_1(last)
    held_out = eval_figures.held_out(evaluations)
    return [
        Section(
            "evaluation",
            "Evaluation",
            "Table 1 of the paper, and pass@k over k, of a run's last checkpoint.",
            tables=[table] if table else [],
            charts=eval_figures.pass_at_k(last),
        ),
        Section(
            "over-steps",
            "Over training steps",
            "Figure 4 of the paper: a line connects the checkpoints of a run."
            + (HELD_OUT if held_out else ""),
            charts=[*eval_figures.over_steps(evaluations), *held_out],
        ),
        Section(
            "diversity",
            "Diversity",
            "Figure 5 of the paper: how much responses to a question differ, step by step.",
            charts=eval_figures.diversity(measured),
        ),
    ]


def _of_scores(sources: Sequence[Source]) -> Section:
    table = score_figures.score_table(sources)
    return Section(
        "scores",
        "Structure of scored completions",
        "Results of rlkd score, one row a folder, in the order of the folders. A completion counts "
        "once, by its newest line.",
        lead=score_figures.cautions(sources),
        tables=[table] if table else [],
        charts=score_figures.reward_charts(sources),
    )


def _of_walks(sources: Sequence[Source]) -> Section:
    return Section(
        "endings",
        "Why comparisons ended",
        "Algorithm 1 walks through both structures until a meta-reasoning does not match.",
        charts=run_figures.endings(sources),
    )


def _checkpoints(sources: Sequence[Source]) -> list[Evaluation]:
    """Return the evaluations with distinct labels; a run's checkpoints in order."""
    found = [(source.name, source.evaluation) for source in sources if source.evaluation]
    found.sort(key=lambda one: (one[1].run or "", one[1].step or 0))
    labels = Counter(result.label for _, result in found)
    return distinguish(
        [
            (name, replace(result, label=f"{result.label}, step {result.step}"))
            if labels[result.label] > 1 and result.step is not None
            else (name, result)
            for name, result in found
        ]
    )


def _last_of_runs(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the evaluations without a run's earlier checkpoints."""
    last = {e.run: e for e in evaluations if e.run and e.step is not None}
    return [e for e in evaluations if not e.run or e.step is None or last[e.run] is e]


def _holds(source: Source) -> str:
    """Describe the content of a folder."""
    parts = []
    if source.steps:
        parts.append(f"GRPO, steps logged: {len(source.steps):,}; {source.progress}")
    if source.phases:
        parts.append(
            f"structured training, steps logged: {len(source.phases):,}; {source.progress}"
        )
    if source.traces and source.traces.rows:
        done = "scored" if source.scored else "traced"
        parts.append(f"completions {done}: {source.traces.seen.total():,}")
    if source.evaluation:
        parts.append(f"evaluation of {source.evaluation.label}")
    if source.diversity:
        parts.append(f"diversity of {source.diversity.label}")
    if source.comparison:
        parts.append(f"comparison of {source.comparison.label}")
    return "; ".join(parts) or "nothing to show"
