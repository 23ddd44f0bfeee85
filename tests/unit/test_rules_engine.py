"""Checks the rules engine: the steps it reads in worked solutions, and which texts it matches."""

import asyncio
import inspect
from collections.abc import Callable

import pytest

from rlkd_plugin.engines import rules
from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.rules import MAX_STEPS, RulesEngine
from rlkd_plugin.gsrm import Field, Step, parse_structure, render_structure
from tests.support.watchdog import watchdog

CLIPS = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May."
)
LISTED = (
    "1. First compute the price of 3 apples: 3 * 2 = 6 dollars.\n"
    "2. Then add the price of the bread: 6 + 4 = 10 dollars.\n"
    "- Step 3: the change is 20 - 10 = 10 dollars."
)
MEGABYTE = 1_000_000


def decompose(path: str) -> Decomposition:
    return asyncio.run(RulesEngine().decompose("How many?", "math", path))


def steps(path: str) -> tuple[Step, ...]:
    structure = decompose(path).structure
    assert structure is not None
    return structure.steps


def match(field: Field, teacher: str, student: str) -> Verdict:
    return asyncio.run(RulesEngine().match(field, teacher, student))


def test_a_worked_solution_has_one_step_an_equation() -> None:
    assert steps(CLIPS) == (
        Step("Natalia sold clips in May (by division)", "What is 48/2?", "24"),
        Step(
            "Natalia sold clips altogether in April and May (by addition)", "What is 48+24?", "72"
        ),
    )


def test_the_last_result_is_the_final_answer() -> None:
    structure = decompose(CLIPS).structure
    assert structure is not None
    assert structure.final_answer == "72"


def test_list_marks_are_no_content() -> None:
    found = steps(LISTED)
    assert [step.answer for step in found] == ["6", "10", "10"]
    assert [step.sub_problem for step in found] == [
        "What is 3 * 2?",
        "What is 6 + 4?",
        "What is 20 - 10?",
    ]
    assert found[0].meta_reasoning.startswith("First compute the price")


@pytest.mark.parametrize(
    ("path", "question", "answer"),
    [
        pytest.param(r"The area is $3 \times 4 = 12$.", "What is 3 * 4?", "12", id="times"),
        pytest.param(r"The area is $3 \cdot 4 = 12$.", "What is 3 * 4?", "12", id="cdot"),
        pytest.param(r"A half is $12 \div 2 = 6$.", "What is 12 / 2?", "6", id="div"),
        pytest.param("The area is 3 \u00d7 4 = 12.", "What is 3 \u00d7 4?", "12", id="sign"),
        pytest.param("The area is 3 x 4 = 12.", "What is 3 x 4?", "12", id="letter x"),
        pytest.param("A sum is 1,200 + 300 = 1,500.", "What is 1,200 + 300?", "1,500", id="commas"),
        pytest.param("A sum is 1.5 + 2 = 3.5 metres.", "What is 1.5 + 2?", "3.5", id="decimals"),
        pytest.param("They cost 3 pens + 4 pens = 7", "What is 3 pens + 4 pens?", "7", id="units"),
        pytest.param("It is 2*3 + 4 = 6 + 4 = 10.", "What is 2*3 + 4?", "10", id="chain"),
        pytest.param("A loss of 3 - 5 = -2.", "What is 3 - 5?", "-2", id="negative result"),
        pytest.param("A note 48/2 = <<48/2=24>>24.", "What is 48/2?", "24", id="calculator note"),
    ],
)
def test_an_equation_is_read(path: str, question: str, answer: str) -> None:
    (step,) = steps(path)
    assert (step.sub_problem, step.answer) == (question, answer)


def test_an_equation_takes_its_goal_from_the_sentence_before() -> None:
    (step,) = steps("To get the speed, divide the distance by the time. 120 / 2 = 60")
    assert step.meta_reasoning.startswith("To get the speed, divide the distance by the time")


def test_a_long_number_is_not_read_from_its_middle() -> None:
    (step,) = steps("The total is 123456789 + 1 = 123456790.")
    assert step.sub_problem == "What is 123456789 + 1?"


def test_without_an_equation_each_sentence_is_a_step() -> None:
    assert steps("She has 5 apples left. Both sides are even.") == (
        Step("She has apples left", "She has 5 apples left.", "5"),
        Step("Both sides are even", "Both sides are even.", "Both sides are even."),
    )


def test_sentences_beside_equations_are_no_steps() -> None:
    assert len(steps("We start here.\nThen 3 + 4 = 7 apples.\nThat was easy to see.")) == 1


@pytest.mark.parametrize("path", ["", "  \n", "42", "... --- !!!", "\\frac{}{}", "1 2 3\n4 5 6"])
def test_a_path_without_words_or_equations_is_undecomposable(path: str) -> None:
    assert decompose(path) == Decomposition(None, "undecomposable")


def test_tags_in_a_path_are_content() -> None:
    (step,) = steps("The student writes [Answer 1]: anything it likes")
    assert "[" not in step.sub_problem
    assert "(Answer 1)" in step.sub_problem


def test_control_tokens_in_a_path_are_broken() -> None:
    (step,) = steps("The student writes <|im_end|> in the middle")
    assert "<|" not in step.sub_problem


def test_steps_are_limited_in_number() -> None:
    many = "\n".join(f"Now add the next one: {n} + 1 = {n + 1}." for n in range(10 * MAX_STEPS))
    assert len(steps(many)) == MAX_STEPS


@pytest.mark.parametrize("path", [CLIPS, LISTED, "Both sides are even. So n is even."])
def test_structures_can_be_written_and_read(path: str) -> None:
    structure = decompose(path).structure
    assert structure is not None
    assert parse_structure(render_structure(structure)) == structure


def test_the_same_path_has_the_same_structure() -> None:
    assert decompose(LISTED) == decompose(LISTED)


HOSTILE: dict[str, Callable[[], str]] = {
    "worked solution": lambda: LISTED * (MEGABYTE // len(LISTED)),
    "one long sentence": lambda: "so we add " * (MEGABYTE // 10),
    "digits": lambda: "1" * MEGABYTE,
    "lines of digits": lambda: ("1" * 999 + "\n") * (MEGABYTE // 1000),
    "lines of commas": lambda: ("1" + "," * 998 + "\n") * (MEGABYTE // 1000),
    "digits and commas": lambda: "1," * (MEGABYTE // 2),
    "sums without a result": lambda: "1+" * (MEGABYTE // 2),
    "lines of sums": lambda: ("1 + " * 250 + "\n") * (MEGABYTE // 1001),
    "products or units": lambda: "1 x " * (MEGABYTE // 4),
    "equals signs": lambda: "1+1=" * (MEGABYTE // 4),
    "equals signs and spaces": lambda: "1+1= (      " * (MEGABYTE // 12),
    "calculator notes never closed": lambda: "<<1" * (MEGABYTE // 3),
    "backslashes": lambda: "\\times" * (MEGABYTE // 6),
    "sentence ends": lambda: ". " * (MEGABYTE // 2),
    "white space": lambda: "a." + " " * MEGABYTE,
    "list marks": lambda: "1. " * (MEGABYTE // 3),
    "dots in numbers": lambda: "1.1" * (MEGABYTE // 3),
    "brackets": lambda: "(1" * (MEGABYTE // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_gets_an_outcome(name: str) -> None:
    with watchdog(20):
        result = decompose(HOSTILE[name]())
    assert result.status in ("ok", "undecomposable")
    assert (result.structure is None) == (result.status == "undecomposable")


def test_a_long_rule_before_a_word_is_no_step() -> None:
    # only the first 1000 characters of a sentence are read, and these hold no word
    assert decompose("-" * 2000 + " word") == Decomposition(None, "undecomposable")


@pytest.mark.parametrize(
    ("field", "teacher", "student"),
    [
        ("answer", "24", "24 clips"),
        ("answer", "24", "the answer is 24.0"),
        ("answer", "1,200", "1200"),
        ("answer", "3 + 4 = 7", "7"),  # the last number counts
        ("answer", "the blue paint", "blue paint"),
        ("sub_problem", "What is 48/2?", "What is 48 / 2?"),
        ("sub_problem", "What is 3 + 4?", "What is 4 + 3?"),
        ("sub_problem", "the price of the apples", "price of apples"),
        ("meta_reasoning", "Compute the price of the apples", "Now find the apples' price"),
        ("meta_reasoning", "add 3 apples", "adding 7 apples"),
    ],
)
def test_matches(field: Field, teacher: str, student: str) -> None:
    assert match(field, teacher, student) == Verdict(True, "rule")


@pytest.mark.parametrize(
    ("field", "teacher", "student"),
    [
        ("answer", "24", "25"),
        ("answer", "24", "-24"),
        ("answer", "24", "2.4"),
        ("answer", "24", "many clips"),
        ("answer", "blue paint", "red wood"),
        ("sub_problem", "What is 48/2?", "What is 48/3?"),
        ("sub_problem", "What is 48/2?", "What is the price?"),
        ("sub_problem", "the price of 3 apples", "the price of apples"),
        ("sub_problem", "price of apples", "speed of trains"),
        ("meta_reasoning", "Compute the price of the apples", "Compute the speed of the train"),
        ("meta_reasoning", "the of", "the of"),  # no content word on either side
    ],
)
def test_does_not_match(field: Field, teacher: str, student: str) -> None:
    assert match(field, teacher, student) == Verdict(False, "rule")


def test_a_solution_matches_its_rewording_and_no_other_one() -> None:
    reworded = steps("Natalia's clips in May: she sold 48 / 2 = 24 clips.")[0]
    teacher = steps(CLIPS)[0]
    assert match("meta_reasoning", teacher.meta_reasoning, reworded.meta_reasoning).matched
    assert match("sub_problem", teacher.sub_problem, reworded.sub_problem).matched
    assert match("answer", teacher.answer, reworded.answer).matched
    other = steps(LISTED)[0]
    assert not match("meta_reasoning", teacher.meta_reasoning, other.meta_reasoning).matched
    assert not match("sub_problem", teacher.sub_problem, other.sub_problem).matched
    assert not match("answer", teacher.answer, other.answer).matched


def test_the_engine_may_be_entered_again_in_another_loop() -> None:
    engine = RulesEngine()

    async def once() -> Decomposition:
        async with engine as entered:
            return await entered.decompose("How many?", "math", CLIPS)

    assert asyncio.run(once()) == asyncio.run(once())


def test_the_stand_in_stays_small() -> None:
    assert len(inspect.getsource(rules).splitlines()) <= 200
