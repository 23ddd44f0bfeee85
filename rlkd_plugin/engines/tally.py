"""What a batch of scores is worth: rewards, when the run has to stop, and the numbers to log.

The one place where failures become rewards.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rlkd_plugin.engines.scoring import Score
from rlkd_plugin.gsrm import FIELDS, EndpointError, RlkdError

MAX_REFUSED = 0.05
"""Largest share of a batch's questions (decompositions and verdicts) that may be refused."""
MAX_WITHOUT_TEACHER = 0.10
"""Largest share of the run's prompts whose teacher may have no structure."""


def reward_of(
    score: Score,
    cut_off: bool,
    scale: Literal["steps", "teacher"],
    truncated: Literal["score", "zero"],
) -> float | None:
    """Return the reward of one completion; None where its prompt's teacher has no structure.

    Args:
        score: the completion's score.
        cut_off: whether its generation ended at the length limit.
        scale: "steps" for the paper's r, in [0, n]; "teacher" for r / n, in [0, 1].
        truncated: "zero" gives a cut-off completion 0, "score" what was decomposed.
    """
    if score.teacher.structure is None:
        return None
    if score.reward is None or (cut_off and truncated == "zero"):
        return 0.0
    return score.reward.total / (len(score.teacher.structure.steps) if scale == "teacher" else 1)


@dataclass
class TeacherRecord:
    """Which prompts of the run have a teacher structure; stops a run where too many have none."""

    known: dict[int, bool] = field(default_factory=dict)

    def check(self, prompts: Sequence[tuple[str, str]], scores: Sequence[Score]) -> None:
        """Note each prompt, given as (problem, teacher), and stop the run if need be.

        One prompt alone never stops a run, however small the batch.

        Raises:
            RlkdError: if more than `MAX_WITHOUT_TEACHER` of the prompts seen have no structure.
        """
        last = ""
        for prompt, score in zip(prompts, scores, strict=True):
            has_one = score.teacher.structure is not None
            self.known[hash(prompt)] = has_one
            last = last if has_one else prompt[0]
        seen, missing = len(self.known), len(self.known) - sum(self.known.values())
        if missing > max(1, MAX_WITHOUT_TEACHER * seen):
            raise RlkdError(
                f"{missing} of {seen} prompts have no teacher structure (more than "
                f"{MAX_WITHOUT_TEACHER:.0%}), the last one for the problem {last[:200]!r}; check "
                "the column teacher_reasoning and the GSRM (`rlkd check`)"
            )


def check_refused(scores: Sequence[Score]) -> None:
    """Stop the run if the engine refuses too much of a batch; one refusal alone never does.

    What several completions share was asked once, and counts once; what a text rule decided, or
    was known of a teacher, was not asked.

    Raises:
        EndpointError: if more than `MAX_REFUSED` of the questions asked were refused.
    """
    asked: dict[Hashable, bool] = {}
    for score in scores:
        asked[id(score.student)] = score.student.status == "refused"  # shared by equal paths
        if score.teacher.status == "refused":
            asked[id(score.teacher)] = True
        for question, verdict in score.verdicts:
            if verdict.source != "rule":
                texts = question.field, question.teacher, question.student
                asked[texts] = verdict.source == "refused"
    refused = list(asked.values())
    if sum(refused) > max(1, MAX_REFUSED * len(refused)):
        raise EndpointError(
            f"{sum(refused)} of {len(refused)} questions of a batch were refused by the GSRM or "
            f"the judge, or had an unreadable verdict (more than {MAX_REFUSED:.0%}); run "
            "`rlkd check`, and look into the servers' logs"
        )


def metrics_of(
    scores: Sequence[Score], rewards: Sequence[float | None], cut_off: Sequence[bool]
) -> dict[str, list[float]]:
    """Return the numbers to log, each as the list of values whose mean is logged.

    Rewards, depth and the statuses are means over completions; the three matched shares are
    means over the steps reached, so that sub-problem and answer count only where the
    meta-reasoning matched. Every key is there in every batch.
    """
    reached: dict[str, list[float]] = {name: [] for name in FIELDS}
    for score in scores:
        if score.reward is None:
            continue
        matched = {(q.field, q.number) for q, verdict in score.verdicts if verdict.matched}
        for number in range(1, len(score.reward.steps) + 1):
            for name in FIELDS:
                reached[name].append(float((name, number) in matched))
    valued = [reward for reward in rewards if reward is not None]
    matched_fields = {f"rlkd/matched_{name}": values or [0.0] for name, values in reached.items()}
    return {
        "rlkd/structure_reward": valued or [0.0],
        "rlkd/matched_depth": [float(s.reward.depth if s.reward else 0) for s in scores],
        **matched_fields,
        "rlkd/undecomposable": [float(s.student.status == "undecomposable") for s in scores],
        "rlkd/no_teacher": [float(s.teacher.structure is None) for s in scores],
        "rlkd/refused": [float(_has_refusal(s)) for s in scores],
        "rlkd/clipped": [float(s.student.clipped) for s in scores],
        "rlkd/cut_off": [float(is_cut_off) for is_cut_off in cut_off],
    }


def _has_refusal(score: Score) -> bool:
    return score.student.status == "refused" or any(
        verdict.source == "refused" for _, verdict in score.verdicts
    )
