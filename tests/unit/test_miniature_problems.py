"""The miniature's generator: what it computes, and that the rules engine reads it exactly."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest

from examples.miniature.measure import score
from examples.miniature.problems import (
    OPERATIONS,
    SMALL,
    TWO_DIGITS,
    Computation,
    Event,
    Generator,
    Problem,
    computations,
    pairs_of,
    path_of,
)
from examples.miniature.sample import Completion
from examples.miniature.sets import TEST_SETS, UNSEEN_PAIRS, problem_sets
from examples.miniature.stories import SETTINGS, STEP_NAMES
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Structure

PROBLEMS = [
    problem
    for numbers in (TWO_DIGITS, SMALL)
    for problem in Generator(5, numbers).draw(200, (1, 2, 3, 4, 5))
]
SIGNS = dict(zip(STEP_NAMES, "++--*+*/++" + "+-", strict=True))


def decomposed(paths: Sequence[str]) -> list[Structure | None]:
    """Return the structures that the rules engine reads off paths."""

    async def read() -> list[Structure | None]:
        engine = RulesEngine()
        return [(await engine.decompose("", "math", path)).structure for path in paths]

    return asyncio.run(read())


def reward(problem: Problem, path: str) -> float:
    """Return the raw reward of a path against the problem's teacher, the sum over its steps."""
    return score([problem], [[Completion(path, False)]])[0][0].reward * len(problem.steps)


def test_the_rules_engine_reads_every_teacher_path_into_the_generator_s_steps() -> None:
    found = decomposed([problem.path for problem in PROBLEMS])
    assert found == [problem.structure for problem in PROBLEMS]


def test_every_plan_reaches_the_same_answer() -> None:
    plans = [(p, other) for p in PROBLEMS for other in p.other_plans()]
    assert len(plans) > 50
    assert all(p.answer == other.answer and p.path != other.path for p, other in plans)


def test_every_equation_is_true_and_every_number_in_range() -> None:
    for problem in PROBLEMS:
        for left, sign, right, result in re.findall(r"(\d+) (.) (\d+) = (\d+)", problem.path):
            exact = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
            assert exact[sign](int(left), int(right)) == int(result)
            assert sign != "/" or int(left) % 2 == 0
            assert 1 <= int(result) <= TWO_DIGITS.largest
        assert str(problem.start) in problem.text


def test_the_answer_is_what_the_events_make_of_the_start() -> None:
    for problem in PROBLEMS:
        count = problem.start
        for event in problem.events:
            count = event.after(count)
        assert problem.answer == count


@pytest.mark.parametrize("one", STEP_NAMES)
def test_the_names_of_two_kinds_of_steps_match_only_in_other_words(one: str) -> None:
    engine = RulesEngine()

    async def matched(first: Computation, second: Computation, wordings: tuple[int, int]) -> bool:
        texts = [c.step(w).meta_reasoning for c, w in zip((first, second), wordings, strict=True)]
        return (await engine.match("meta_reasoning", *texts)).matched

    for other, first, second in product(STEP_NAMES, (0, 1), (0, 1)):
        left, right = (Computation(kind, 8, SIGNS[kind], 2) for kind in (one, other))
        assert asyncio.run(matched(left, right, (first, second))) == (one == other)


def test_a_path_in_other_words_has_the_teacher_s_reward() -> None:
    for problem in PROBLEMS:
        assert reward(problem, path_of(problem.steps, 1)) == pytest.approx(len(problem.steps))


PROBLEM = Problem("coins", "", 10, (Event("buy", 5), Event("find", 4), Event("bags", 2, 3)))
"""10 + 5 = 15, 15 + 4 = 19, 2 * 3 = 6, 19 + 6 = 25."""


def changed(place: int, **values: int) -> str:
    steps = list(PROBLEM.steps)
    steps[place] = replace(steps[place], **values)
    return path_of(steps)


@pytest.mark.parametrize(
    ("path", "by_hand"),
    [
        (PROBLEM.path, 4.0),
        # the other plan: 5 + 4, 10 + 9, ...: the first meta-reasoning differs
        (path_of(computations(PROBLEM.start, PROBLEM.events, 0)), 0.0),
        # 15 + 3 = 18 for 15 + 4 = 19: another sub-problem and another answer, 1 + 0.25 + 1 + 1
        (changed(1, right=3), 3.25),
        # 18 + 6 = 24 for 19 + 6 = 25, the same in the last step
        (changed(3, left=18), 3.25),
        # without the second step: 1, then a meta-reasoning that differs
        (path_of([PROBLEM.steps[0], *PROBLEM.steps[2:]]), 1.0),
        # without the last one: all that is there matches
        (path_of(PROBLEM.steps[:3]), 3.0),
        # a step too many costs nothing in Algorithm 1
        (path_of([*PROBLEM.steps, Computation("half", 24, "/", 2)]), 4.0),
        # only the answer is wrong: 1 + 0.5 + ...
        (PROBLEM.path.replace("15 + 4 = 19", "15 + 4 = 18"), 3.5),
        ("No idea.", 0.0),
    ],
)
def test_algorithm_1_by_hand(path: str, by_hand: float) -> None:
    assert [str(step.result) for step in PROBLEM.steps] == ["15", "19", "6", "25"]
    assert reward(PROBLEM, path) == pytest.approx(by_hand)


def test_what_is_scored_beside_the_reward() -> None:
    extra = path_of([*PROBLEM.steps, Computation("half", 24, "/", 2)])
    unboxed = PROBLEM.path.replace("\\boxed", "")
    twice = f"{PROBLEM.path} So \\boxed{{25}}."
    texts = (PROBLEM.path, extra, unboxed, twice)
    right, beyond, plain, two = score([PROBLEM], [[Completion(t, False) for t in texts]])[0]
    assert (right.right, right.in_form, right.beyond, right.depth) == (True, True, False, 4)
    assert (beyond.right, beyond.beyond, beyond.depth) == (False, True, 4)
    assert (plain.right, plain.in_form) == (False, False)
    assert (two.right, two.in_form) == (False, False)


def test_two_gains_or_two_losses_have_a_second_plan() -> None:
    kinds = ("buy", "find", "give", "lose", "double", "give")
    assert pairs_of([Event(kind, 3) for kind in kinds]) == [0, 2]


def test_the_sets_share_no_problem_and_keep_their_orders() -> None:
    sets = problem_sets(tests=30, warm=60, pretrain=300)
    texts = [problem.text for problems in sets.values() for problem in problems]
    assert len(texts) == len(set(texts))
    assert sets.keys() >= TEST_SETS.keys()
    for name, problems in sets.items():
        for problem in problems:
            kinds = [event.kind for event in problem.events]
            unseen = set(pairwise(kinds)) & UNSEEN_PAIRS
            assert bool(unseen) == (name == "own:orders")
    assert {len(p.steps) for p in sets["own:longer"]} == {5}
    assert {len(p.steps) for p in sets["train"]} == {3, 4}
    assert {len(p.steps) for p in sets["pretrain"]} == {1, 2}


def test_the_same_seed_draws_the_same_problems() -> None:
    one, same, other = (Generator(seed).draw(20, (2, 3)) for seed in (1, 1, 2))
    assert one == same
    assert not {p.text for p in one} & {p.text for p in other}


def test_every_setting_tells_every_kind_of_event() -> None:
    kinds = {event.kind for problem in PROBLEMS for event in problem.events}
    assert all(setting.events.keys() == kinds for setting in SETTINGS.values())
    assert OPERATIONS.keys() == set("+-*/")
