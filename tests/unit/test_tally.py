"""Checks what a batch of scores is worth, and what is logged."""

from dataclasses import replace
from typing import Literal

import pytest

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.reward_scale import PAPER, RewardScale
from rlkd_plugin.engines.scoring import Score
from rlkd_plugin.engines.tally import metrics_of, reward_of
from rlkd_plugin.gsrm import FIELDS, Question, Step, Structure, StructuredReward

OK = Decomposition(Structure((Step("m", "q", "a"),)))
TWO_STEPS = Decomposition(Structure((Step("m", "q", "a"), Step("m2", "q2", "a2"))))
UNDECOMPOSABLE = Decomposition(None, "undecomposable")
REFUSED = Decomposition(None, "refused")
YES, NO, UNREAD = Verdict(True, "text"), Verdict(False, "text"), Verdict(False, "refused")


def judged(*steps: tuple[Verdict, ...], teacher: Decomposition = TWO_STEPS) -> Score:
    """A score with the verdicts of each step: the meta-reasoning's, then its two others'."""
    verdicts = [
        (Question(number, field, "t", "s"), verdict)
        for number, step in enumerate(steps, start=1)
        for field, verdict in zip(FIELDS, step, strict=False)
    ]
    scores = tuple(_step_score(step) for step in steps)
    return Score(teacher, OK, StructuredReward(sum(scores), scores), verdicts)


def _step_score(step: tuple[Verdict, ...]) -> float:
    meta, *others = step
    return 0.5 ** sum(not verdict.matched for verdict in others) if meta.matched else 0.0


# step 1: 1 * 0.5 for the answer; step 2: 0, and the walk ends: 0.5 of at most 2
HALF = judged((YES, YES, NO), (NO,))
# step 1: 1; step 2: 1: 2 of at most 2
WHOLE = judged((YES, YES, YES), (YES, YES, YES))


@pytest.mark.parametrize(
    ("scale", "reward"),
    [
        ("steps", 0.5),
        # 0.5 / 2 steps of the teacher
        ("teacher", 0.25),
    ],
)
def test_reward_of_a_scored_completion(scale: Literal["steps", "teacher"], reward: float) -> None:
    assert reward_of(HALF, False, RewardScale(scale), "score") == reward


def test_the_teacher_scale_ends_at_1() -> None:
    # 2 / 2 steps of the teacher
    assert reward_of(WHOLE, False, RewardScale("teacher"), "score") == 1.0


def test_equal_rewards_are_equal_numbers() -> None:
    """For a student of 5 steps a branch of 3 steps with r = 1 and one of 1 step earn a fifth."""
    scale = RewardScale("teacher", "divide")
    assert scale.reward(1.0, 3, 5) == scale.reward(1.0, 1, 5) == 1 / 5


@pytest.mark.parametrize(
    ("truncated", "reward"),
    [
        # what was decomposed: 1 + 1
        ("score", 2.0),
        ("zero", 0.0),
    ],
)
def test_reward_of_a_cut_off_completion(truncated: Literal["score", "zero"], reward: float) -> None:
    assert reward_of(WHOLE, True, PAPER, truncated) == reward


def test_a_whole_completion_is_not_worth_less_where_cut_off_ones_are_worth_nothing() -> None:
    # not cut off: 1 + 1
    assert reward_of(WHOLE, False, PAPER, "zero") == 2.0


@pytest.mark.parametrize("student", [UNDECOMPOSABLE, REFUSED])
@pytest.mark.parametrize("scale", ["steps", "teacher"])
def test_reward_of_a_student_without_structure(
    student: Decomposition, scale: Literal["steps", "teacher"]
) -> None:
    assert reward_of(Score(OK, student), False, RewardScale(scale), "score") == 0.0


@pytest.mark.parametrize("teacher", [UNDECOMPOSABLE, REFUSED])
@pytest.mark.parametrize("student", [OK, UNDECOMPOSABLE, REFUSED])
@pytest.mark.parametrize("cut_off", [True, False])
def test_without_a_teacher_there_is_no_reward(
    teacher: Decomposition, student: Decomposition, cut_off: bool
) -> None:
    assert reward_of(Score(teacher, student), cut_off, RewardScale("teacher"), "zero") is None


def refused_verdicts(refused: int, count: int) -> Score:
    """A score with `count` verdicts, of which `refused` could not be had."""
    verdicts = [
        (Question(number, "answer", "t", f"s {number}"), UNREAD if number < refused else YES)
        for number in range(count)
    ]
    return Score(OK, OK, StructuredReward(1.0, (1.0,)), verdicts)


BATCHES: dict[str, list[Score]] = {
    "one of each": [HALF, WHOLE, Score(OK, UNDECOMPOSABLE), Score(UNDECOMPOSABLE, OK)],
    "no structure": [Score(UNDECOMPOSABLE, UNDECOMPOSABLE)],
    "nothing matched": [judged((NO,))],
    "refused": [Score(OK, REFUSED)],
}


def means(scores: list[Score], cut_off: list[bool] | None = None) -> dict[str, float]:
    rewards = [reward_of(score, False, PAPER, "score") for score in scores]
    metrics = metrics_of(scores, rewards, cut_off or [False] * len(scores))
    return {key: sum(values) / len(values) for key, values in metrics.items()}


class TestMetrics:
    """The numbers to log: the same keys always, and means that can be worked out by hand."""

    @pytest.mark.parametrize("name", BATCHES)
    def test_have_the_same_keys_in_every_batch(self, name: str) -> None:
        assert list(means(BATCHES[name])) == [
            "rlkd/structure_reward",
            "rlkd/matched_depth",
            "rlkd/matched_meta_reasoning",
            "rlkd/matched_sub_problem",
            "rlkd/matched_answer",
            "rlkd/beyond_teacher",
            "rlkd/undecomposable",
            "rlkd/no_teacher",
            "rlkd/refused",
            "rlkd/clipped",
            "rlkd/cut_structure",
            "rlkd/clipped_teacher",
            "rlkd/cut_teacher",
            "rlkd/unreadable_structure",
            "rlkd/cut_off",
        ]

    def test_hold_a_list_of_numbers_for_every_key(self) -> None:
        metrics = metrics_of(BATCHES["no structure"], [None], [False])
        assert all(len(values) >= 1 for values in metrics.values())
        assert all(type(value) is float for values in metrics.values() for value in values)

    def test_reward_is_a_mean_over_the_completions_that_have_one(self) -> None:
        # 0.5, 2, 0 for the undecomposable one, and none for the one without a teacher
        assert means(BATCHES["one of each"])["rlkd/structure_reward"] == 2.5 / 3

    def test_reward_is_0_where_no_completion_has_one(self) -> None:
        assert means(BATCHES["no structure"])["rlkd/structure_reward"] == 0.0

    def test_depth_is_a_mean_over_all_completions(self) -> None:
        # 1 step of the half one, 2 of the whole one, 0 and 0
        assert means(BATCHES["one of each"])["rlkd/matched_depth"] == 3 / 4

    @pytest.mark.parametrize(
        ("field", "share"),
        [
            # four steps reached: half 1, half 2 (where the walk ended), whole 1, whole 2
            ("meta_reasoning", 3 / 4),
            ("sub_problem", 3 / 4),
            ("answer", 2 / 4),
        ],
    )
    def test_matched_shares_are_means_over_the_steps_reached(
        self, field: str, share: float
    ) -> None:
        assert means(BATCHES["one of each"])[f"rlkd/matched_{field}"] == share

    def test_statuses_are_shares_of_the_completions(self) -> None:
        clipped = Score(OK, Decomposition(OK.structure, clipped=True))
        scores = [
            *BATCHES["one of each"],
            Score(OK, REFUSED),
            refused_verdicts(3, 5),
            clipped,
            WHOLE,
        ]
        shares = means(scores, cut_off=[True, True, True, *[False] * 5])
        assert shares["rlkd/undecomposable"] == 1 / 8
        assert shares["rlkd/no_teacher"] == 1 / 8
        assert shares["rlkd/refused"] == 2 / 8  # however many of one's verdicts were refused
        assert shares["rlkd/clipped"] == 1 / 8
        assert shares["rlkd/cut_off"] == 3 / 8

    def test_cut_structures_are_shares_of_the_completions(self) -> None:
        whole, cut = Score(OK, TWO_STEPS), Score(OK, replace(TWO_STEPS, cut=True))
        nothing_left = Score(OK, Decomposition(None, "undecomposable", cut=True))
        assert means([whole, cut, cut, nothing_left])["rlkd/cut_structure"] == 3 / 4

    def test_what_is_said_of_teachers_counts_each_teacher_once(self) -> None:
        """Eight completions of one prompt, and two of another, are two teachers."""
        clipped, cut = replace(OK, clipped=True), replace(OK, cut=True)
        shares = means([Score(clipped, OK)] * 8 + [Score(cut, OK, unreadable=True)] * 2)
        assert shares["rlkd/clipped_teacher"] == 1 / 2
        assert shares["rlkd/cut_teacher"] == 1 / 2
        assert shares["rlkd/unreadable_structure"] == 1 / 2
        assert shares["rlkd/clipped"] == shares["rlkd/cut_structure"] == 0  # of students
