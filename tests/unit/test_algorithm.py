"""Checks Algorithm 1 against a word-for-word transcription of the paper's, and by hand."""

import random
from collections.abc import Callable, Iterator

import pytest

from rlkd_plugin.gsrm import (
    Field,
    Question,
    Step,
    Structure,
    StructuredReward,
    structured_reward,
    walk,
)

Match = Callable[[Field, str, str], bool]
Call = tuple[Field, str, str]


def algorithm_1(teacher: Structure, student: Structure, match: Match) -> float:
    """Algorithm 1 of the paper, line by line; indices from 1 as there."""
    t, s = (None, *teacher.steps), (None, *student.steps)
    n, m = len(teacher.steps), len(student.steps)
    r = 0.0
    for i in range(1, min(n, m) + 1):
        v = 0.0
        if match("meta_reasoning", t[i].meta_reasoning, s[i].meta_reasoning):
            v = 1.0
            if not match("sub_problem", t[i].sub_problem, s[i].sub_problem):
                v = v * 0.5
            if not match("answer", t[i].answer, s[i].answer):
                v = v * 0.5
        else:
            break
        r = r + v
    return r


def structure(side: str, length: int) -> Structure:
    """A structure whose texts say where they stand: `tM1`, `tQ1`, `tA1`, `tM2`, ..."""
    return Structure(
        tuple(Step(f"{side}M{i}", f"{side}Q{i}", f"{side}A{i}") for i in range(1, length + 1))
    )


def answering(verdicts: str) -> Match:
    """A match that gives the verdicts, written as 1 and 0, in the order in which it is asked."""
    left: Iterator[str] = iter(verdicts)
    return lambda field, teacher, student: next(left) == "1"


def recording(seed: int, chance: float, calls: list[Call]) -> Match:
    """A match of random verdicts, the same for the same seed, that notes what it is asked."""
    verdicts = random.Random(seed)

    def match(field: Field, teacher: str, student: str) -> bool:
        calls.append((field, teacher, student))
        return verdicts.random() < chance

    return match


def random_pairs(count: int) -> Iterator[tuple[int, Structure, Structure, float]]:
    """Pairs of structures of 1 to 8 steps, with a seed and a chance of a match each."""
    source = random.Random(20250)
    for seed in range(count):
        teacher, student = (structure(side, source.randint(1, 8)) for side in "ts")
        yield seed, teacher, student, source.choice([0.3, 0.7, 0.9, 1.0])


def test_rewards_are_those_of_the_paper() -> None:
    for seed, teacher, student, chance in random_pairs(10_000):
        expected = algorithm_1(teacher, student, recording(seed, chance, []))
        got = structured_reward(teacher, student, recording(seed, chance, []))
        assert got.total == expected, f"pair {seed}"


def test_match_is_called_as_in_the_paper() -> None:
    for seed, teacher, student, chance in random_pairs(10_000):
        expected: list[Call] = []
        calls: list[Call] = []
        algorithm_1(teacher, student, recording(seed, chance, expected))
        structured_reward(teacher, student, recording(seed, chance, calls))
        assert calls == expected, f"pair {seed}"


def test_step_scores_add_up() -> None:
    for seed, teacher, student, chance in random_pairs(1_000):
        reward = structured_reward(teacher, student, recording(seed, chance, []))
        assert sum(reward.steps) == reward.total, f"pair {seed}"


@pytest.mark.parametrize(
    ("n", "m", "verdicts", "steps", "total"),
    [
        # nothing matched: the first meta-reasoning ends the walk
        (3, 3, "0", (0.0,), 0.0),
        # one step, all matched: 1
        (1, 1, "111", (1.0,), 1.0),
        # one step, sub-problem not: 1 * 0.5
        (1, 1, "101", (0.5,), 0.5),
        # one step, answer not: 1 * 0.5
        (1, 1, "110", (0.5,), 0.5),
        # one step, neither: 1 * 0.5 * 0.5
        (1, 1, "100", (0.25,), 0.25),
        # two whole steps, then a meta-reasoning that does not match: 1 + 1 + 0
        (5, 5, "1111110", (1.0, 1.0, 0.0), 2.0),
        # half, quarter, end: 0.5 + 0.25 + 0
        (3, 4, "1011000", (0.5, 0.25, 0.0), 0.75),
        # the shorter side ends the walk, here the teacher's, after 2 of 6: 1 + 0.5
        (2, 6, "111110", (1.0, 0.5), 1.5),
        # ... here the student's: 0.25 + 1
        (6, 2, "100111", (0.25, 1.0), 1.25),
        # a long teacher gives more than 1: 3 * 1
        (3, 3, "111111111", (1.0, 1.0, 1.0), 3.0),
    ],
)
def test_by_hand(n: int, m: int, verdicts: str, steps: tuple[float, ...], total: float) -> None:
    reward = structured_reward(structure("t", n), structure("s", m), answering(verdicts))
    assert reward == StructuredReward(total, steps)


@pytest.mark.parametrize(
    ("verdicts", "depth"), [("0", 0), ("1000", 1), ("100100100", 3), ("1111110", 2)]
)
def test_depth_counts_the_matched_meta_reasonings(verdicts: str, depth: int) -> None:
    reward = structured_reward(structure("t", 3), structure("s", 3), answering(verdicts))
    assert reward.depth == depth


def test_total_is_a_float_where_nothing_matched() -> None:
    reward = structured_reward(structure("t", 1), structure("s", 1), answering("0"))
    assert isinstance(reward.total, float)


def question(number: int, field: Field, letter: str) -> Question:
    return Question(number, field, f"t{letter}{number}", f"s{letter}{number}")


def test_walk_asks_the_first_meta_reasoning_alone() -> None:
    assert next(walk(structure("t", 3), structure("s", 3))) == (question(1, "meta_reasoning", "M"),)


def test_walk_asks_a_matched_step_beside_the_next_meta_reasoning() -> None:
    steps = walk(structure("t", 3), structure("s", 3))
    next(steps)
    assert steps.send([True]) == (
        question(1, "sub_problem", "Q"),
        question(1, "answer", "A"),
        question(2, "meta_reasoning", "M"),
    )
    # whatever the sub-problem's and the answer's verdicts are
    assert steps.send([False, False, True]) == (
        question(2, "sub_problem", "Q"),
        question(2, "answer", "A"),
        question(3, "meta_reasoning", "M"),
    )


@pytest.mark.parametrize(("n", "m"), [(2, 5), (5, 2), (2, 2)])
def test_walk_asks_no_meta_reasoning_behind_the_shorter_side(n: int, m: int) -> None:
    steps = walk(structure("t", n), structure("s", m))
    next(steps)
    steps.send([True])
    assert steps.send([True, True, True]) == (
        question(2, "sub_problem", "Q"),
        question(2, "answer", "A"),
    )


def test_walk_ends_at_an_unmatched_meta_reasoning() -> None:
    steps = walk(structure("t", 3), structure("s", 3))
    next(steps)
    steps.send([True])
    with pytest.raises(StopIteration) as end:
        steps.send([True, False, False])
    # step 1: 1 * 0.5 for the answer; step 2: 0
    assert end.value.value == StructuredReward(0.5, (0.5, 0.0))


def test_walk_asks_nothing_that_an_early_exit_makes_useless() -> None:
    for seed, teacher, student, chance in random_pairs(1_000):
        needed: list[Call] = []
        algorithm_1(teacher, student, recording(seed, chance, needed))
        verdicts = random.Random(seed)
        asked: list[Call] = []
        steps = walk(teacher, student)
        questions = next(steps)
        try:
            while True:
                asked += [(q.field, q.teacher, q.student) for q in questions]
                questions = steps.send([verdicts.random() < chance for _ in questions])
        except StopIteration:
            assert asked == needed, f"pair {seed}"
