"""Turns the scores of a batch into rewards and metrics.

This is the one place where failures become rewards. Not here: when they end the run
(`run_window`).
"""

from collections.abc import Sequence
from typing import Literal

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.reward_scale import RewardScale
from rlkd_plugin.engines.scoring import Score
from rlkd_plugin.gsrm import FIELDS


def reward_of(
    score: Score,
    cut_off: bool,
    scale: RewardScale,
    truncated: Literal["score", "zero"],
) -> float | None:
    """Return the reward of one completion; None if its teacher has no structure.

    Args:
        score: the completion's score.
        cut_off: whether it reached the length limit.
        scale: how r becomes a reward.
        truncated: "zero" gives a cut-off completion 0, "score" scores its decomposition.
    """
    if score.teacher.structure is None:
        return None
    if score.reward is None or (cut_off and truncated == "zero"):
        return 0.0
    students_steps = len(score.student.structure.steps) if score.student.structure else 0
    return scale.reward(score.reward.total, len(score.teacher.structure.steps), students_steps)


def metrics_of(
    scores: Sequence[Score], rewards: Sequence[float | None], cut_off: Sequence[bool]
) -> dict[str, list[float]]:
    """Return the metrics, each as the list of values whose mean is logged.

    Rewards, depth and the statuses are means over completions. The three matched shares are means
    over the steps reached, so that sub-problem and answer count only if the meta-reasoning
    matched. `rlkd/beyond_teacher` is the share of completions that match the teacher to its last
    step and begin another. Metrics of teachers are means over the batch's teachers, each of which
    counts once; clipped and cut are means over all branches. Every batch has every key.
    """
    reached: dict[str, list[float]] = {name: [] for name in FIELDS}
    for score in scores:
        if score.reward is None:
            continue
        matched = {(q.field, q.number) for q, verdict in score.verdicts if verdict.matched}
        for number in range(1, len(score.reward.steps) + 1):
            for name in FIELDS:
                reached[name].append(float((name, number) in matched))
    # completions of a prompt share its teacher
    branches = {id(one): one for score in scores for one in _teachers(score)}.values()
    readings = {(id(_first_teacher(score)), score.unreadable) for score in scores}
    valued = [reward for reward in rewards if reward is not None]
    matched_fields = {f"rlkd/matched_{name}": values or [0.0] for name, values in reached.items()}
    return {
        "rlkd/structure_reward": valued or [0.0],
        "rlkd/matched_depth": [float(s.reward.depth if s.reward else 0) for s in scores],
        **matched_fields,
        "rlkd/beyond_teacher": [float(s.beyond_teacher) for s in scores],
        "rlkd/undecomposable": [float(s.student.status == "undecomposable") for s in scores],
        "rlkd/no_teacher": [float(s.teacher.structure is None) for s in scores],
        "rlkd/refused": [float(_has_refusal(s)) for s in scores],
        "rlkd/clipped": [float(s.student.clipped) for s in scores],
        "rlkd/cut_structure": [float(s.student.cut) for s in scores],
        "rlkd/clipped_teacher": [float(one.clipped) for one in branches],
        "rlkd/cut_teacher": [float(one.cut) for one in branches],
        "rlkd/unreadable_structure": [float(unreadable) for _, unreadable in readings],
        "rlkd/cut_off": [float(is_cut_off) for is_cut_off in cut_off],
    }


def branch_metrics(
    scores: Sequence[Score], rewards: Sequence[float | None]
) -> dict[str, list[float]]:
    """Return the metrics of several branches, as lists whose means are logged.

    `rlkd/other_branch` is the share of completions won by another branch than the first. The
    reward exceeds that of the first branch by at least `rlkd/branch_gain` and at most
    `rlkd/branch_gain_at_most`; the two differ if the first branch was dropped as it could not win.
    A completion that earns 0 because it was cut off gains nothing. Completions without a
    structure, or whose first branch has none, do not count.
    """
    won, least, most = [], [], []
    for score, reward in zip(scores, rewards, strict=True):
        if score.reward is None:
            continue
        if score.branches and score.branches[0].teacher.structure is None:
            continue
        won.append(float(score.branch != 0))
        if score.branch == 0 or not reward:
            gain = (0.0, 0.0)
        else:
            first, best = (score.branches[i].outcome for i in (0, score.branch))
            gain = (best.least - first.most, best.least - first.least)
        least.append(gain[0])
        most.append(gain[1])
    return {
        "rlkd/other_branch": won or [0.0],
        "rlkd/branch_gain": least or [0.0],
        "rlkd/branch_gain_at_most": most or [0.0],
    }


def _has_refusal(score: Score) -> bool:
    return score.student.status == "refused" or any(
        verdict.source == "refused" for _, verdict in score.verdicts
    )


def _teachers(score: Score) -> list[Decomposition]:
    """Return the branches of a completion's teacher that its score holds."""
    return [branch.teacher for branch in score.branches] or [score.teacher]


def _first_teacher(score: Score) -> Decomposition:
    """Return the first branch with a structure, or the first one."""
    teachers = _teachers(score)
    return next((one for one in teachers if one.structure), teachers[0])
