"""Rows of the hubs' data sets become ours, or are refused with a reason."""

from typing import Any

import pytest

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.gsrm.prompts import decompose_prompt
from rlkd_plugin.rlkd_data.rows.hub_rows import (
    gsrm_sft_row,
    last_boxed,
    openr1_pairs_row,
    openr1_row,
    openr1_sft_row,
    openthoughts_row,
)
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row
from tools.stand_ins.hub_shapes import STRUCTURE, openr1, openthoughts, pair


def test_the_first_correct_generation_is_the_teachers_path() -> None:
    """The reasoning alone, without its tags and without what follows it."""
    assert openr1_row(openr1(3)) == {
        "messages": [{"role": "user", "content": "What is $3 + 3$?"}],
        "solution": "\\boxed{6}",
        "problem": "What is $3 + 3$?",
        "domain": "math",
        "teacher_reasoning": "I guess 6.",
        "teacher_structure": None,
    }


def test_the_sft_row_has_the_whole_generation_as_the_assistants_turn() -> None:
    """All else is as in the row for GRPO."""
    row, sft = openr1_row(openr1(3)), openr1_sft_row(openr1(3))
    reply = "<think>\nI guess 6.\n</think>\n\nThe answer is $\\boxed{6}$."
    assert sft["messages"] == [*row["messages"], {"role": "assistant", "content": reply}]
    assert {**sft, "messages": None} == {**row, "messages": None}


def test_a_pair_prefers_the_right_generation_to_the_wrong_one() -> None:
    """All else is as in the row for SFT, so PPO's reward model reads what SFT learns."""
    row, sft = openr1_pairs_row(openr1(3)), openr1_sft_row(openr1(3))
    wrong = "<think>\nI guess 7.\n</think>\n\nThe answer is $\\boxed{7}$."
    assert row == {**sft, "rejected_response": wrong}


@pytest.mark.parametrize("marks", [[True, True], [True, None]])
def test_a_pair_needs_a_wrong_generation(marks: list[bool | None]) -> None:
    with pytest.raises(FormatError, match="no generation is marked wrong"):
        openr1_pairs_row(openr1(3, correctness_math_verify=marks))


@pytest.mark.parametrize("make_row", [openr1_row, openr1_sft_row, openr1_pairs_row])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"generations": ["<think>\na\n</think>"]}, "differ in length: 1 and 2"),
        ({"correctness_math_verify": [True]}, "differ in length: 2 and 1"),
        ({"correctness_math_verify": [False, False]}, "no generation is marked correct"),
        ({"correctness_math_verify": [None, None]}, "no generation is marked correct"),
        ({"correctness_math_verify": [], "generations": []}, "no generation is marked correct"),
        ({"correctness_math_verify": None}, "correctness_math_verify is not a list"),
        ({"generations": None}, "generations is not a list"),
        ({"generations": [None, None]}, "first correct generation is not a text"),
        ({"generations": ["x", "<think>\n\n</think>\n\n4"]}, "has no reasoning"),
        ({"answer": None}, "answer is missing"),
        ({"answer": ""}, "answer is missing"),
        ({"answer": True}, "answer is missing or not a text: True"),
        ({"answer": "100 200"}, "gold answer can be read in two ways"),
        ({"is_reasoning_complete": [True]}, "is_reasoning_complete differ in length: 2 and 1"),
        ({"is_reasoning_complete": "yes"}, "is_reasoning_complete is not a list"),
        ({"finish_reasons": ["stop"]}, "finish_reasons differ in length: 2 and 1"),
        ({"is_reasoning_complete": [True, False]}, "first correct generation is incomplete"),
        ({"finish_reasons": ["stop", "length"]}, "first correct generation is incomplete"),
        ({"generations": ["x", "<think>\na, so"]}, "incomplete: generation 2 never closes"),
        ({"generations": ["x", "Use `</think>` last"]}, "incomplete: generation 2 never closes"),
        ({"generations": ["x", "<think>\na\n</think>\n"]}, "has no text after its thinking"),
        ({"answer": "}"}, "gold answer does not verify against itself"),
        ({"answer": "x" * 2000}, "gold answer does not verify against itself"),
        ({"problem": None}, "problem is missing"),
    ],
)
def test_an_openr1_row_without_a_teacher_or_a_gold_is_refused(
    make_row: Any, change: dict[str, Any], reason: str
) -> None:
    """Both data sets refuse the same rows."""
    with pytest.raises(FormatError, match=reason):
        make_row(openr1(2, **change))


OPEN = "<think>\nTwice 2 is 4, and so"
CLOSED = "<think>\nTwice 2 is 4.\n</think>\n\nIt is $\\boxed{4}$."


@pytest.mark.parametrize(
    "change",
    [
        {"is_reasoning_complete": [False, True], "generations": [OPEN, CLOSED]},
        {"is_reasoning_complete": [False, True], "generations": ["<think>a</think> 4", CLOSED]},
        {"is_reasoning_complete": [0, 1], "generations": ["<think>a</think> 4", CLOSED]},
        {"is_reasoning_complete": ["False", True], "generations": ["<think>a</think> 4", CLOSED]},
        {"finish_reasons": ["MAX_TOKENS", "STOP"], "generations": ["<think>a</think> 4", CLOSED]},
        {"is_reasoning_complete": [True, True], "generations": [OPEN, CLOSED]},
        {"is_reasoning_complete": None, "generations": [OPEN, CLOSED]},
        {"is_reasoning_complete": [None, None], "generations": [OPEN, CLOSED]},
        {"finish_reasons": ["length", "stop"], "generations": ["<think>a</think> 4", CLOSED]},
        {"finish_reasons": ["abort", None], "generations": ["<think>a</think> 4", CLOSED]},
        {"finish_reasons": [None, None], "generations": [None, CLOSED]},
        {"generations": ["<think>\n\n</think>\n\n4", CLOSED]},
    ],
)
def test_the_first_generation_that_is_correct_and_complete_is_the_teachers(
    change: dict[str, Any],
) -> None:
    """By the marks where there are some, and always by its text; both are marked correct."""
    raw = openr1(2, correctness_math_verify=[True, True], **change)
    assert openr1_row(raw)["teacher_reasoning"] == "Twice 2 is 4."
    assert openr1_sft_row(raw)["messages"][-1]["content"] == CLOSED


def test_rows_without_the_marks_are_read_by_their_texts() -> None:
    """The columns may be missing altogether."""
    raw = openr1(2)
    for name in ("is_reasoning_complete", "finish_reasons", "correctness_llama"):
        del raw[name]
    assert openr1_row(raw) == openr1_row(openr1(2))


def test_a_generation_that_a_judge_model_alone_calls_correct_is_no_teacher() -> None:
    """math-verify calls it wrong, and so would `accuracy`."""
    raw = openr1(2, correctness_math_verify=[False, False], correctness_llama=[True, True])
    with pytest.raises(FormatError, match="no generation is marked correct"):
        openr1_row(raw)


def test_a_pair_prefers_a_whole_wrong_generation_to_one_that_was_cut_off() -> None:
    """One that was cut off is wrong too, where there is no other."""
    wrong = "<think>\nTwice 2 is 5.\n</think>\n\nIt is $\\boxed{5}$."
    marks = {"correctness_math_verify": [False, False, True], "is_reasoning_complete": None}
    for texts, rejected in (([OPEN, wrong, CLOSED], wrong), ([OPEN, "  ", CLOSED], OPEN)):
        assert openr1_pairs_row(openr1(2, generations=texts, **marks))["rejected_response"] == (
            rejected
        )


@pytest.mark.parametrize("domain", ["Math", "MATH", " math ", "Physics", "CODE"])
def test_a_domain_may_stand_in_any_letter_case(domain: str) -> None:
    name = {"physics": "science"}.get(domain.strip().lower(), domain.strip().lower())
    assert openthoughts_row(openthoughts(domain=domain))["domain"] == name
    assert gsrm_sft_row(pair(domain=domain))["domain"] == name


def test_a_null_worked_solution_is_not_needed() -> None:
    """The gold is the column `answer`."""
    assert openr1_row(openr1(2, solution=None))["solution"] == "\\boxed{4}"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        *[("math", "math"), ("code", "code"), ("puzzle", "puzzle"), ("science", "science")],
        *[("biology", "science"), ("physics", "science"), ("chemistry", "science")],
    ],
)
def test_the_domains_of_openthoughts_are_mapped_to_four(theirs: str, ours: str) -> None:
    """The natural sciences are one domain of the paper."""
    assert openthoughts_row(openthoughts(domain=theirs))["domain"] == ours


def test_an_openthoughts_row_becomes_ours() -> None:
    """Problem, domain and path, and the final answer of the ground truth."""
    assert openthoughts_row(openthoughts(4)) == {
        "messages": [{"role": "user", "content": "What is 4 + 4?"}],
        "solution": "\\boxed{8}",
        "problem": "What is 4 + 4?",
        "domain": "math",
        "teacher_reasoning": "Twice 4 is 8. Let me check: yes.",
        "teacher_structure": None,
    }


@pytest.mark.parametrize(
    ("truth", "teacher", "solution"),
    [
        ("So \\boxed{7}.", "\\boxed{8}", "\\boxed{7}"),
        (None, "Half: \\boxed{\\frac12}. So \\boxed{\\frac12}", "\\boxed{\\frac{1}{2}}"),
        (None, "\\boxed{1} \\text{ and } \\boxed{2}", ""),
        (None, "\\boxed{5} and \\boxed{", ""),
        (None, "\\boxed 5", ""),
        ("A proof without a box.", "\\boxed{8}", "\\boxed{8}"),
        ("There are 3 primes, see page 5.", None, ""),
        ("The answer is 7", "\\boxed{7}", "\\boxed{7}"),
        ("See solution 2.", "no box", ""),
        ("42", None, "\\boxed{42}"),
        ("5 000", None, "\\boxed{5000}"),
        ("100 200", "\\boxed{7}", "\\boxed{7}"),
        ("So \\boxed{60°}.", None, "\\boxed{60^{\\circ}}"),
        ("So \\boxed{0.333...}.", None, ""),
        ("x = \\frac{1}{2}", None, "\\boxed{x = \\frac{1}{2}}"),
        (None, None, ""),
        (
            "It can be shown.",
            "It is one of the 3 primes below 7, as one shows in a line or so. " * 2,
            "",
        ),
        ("\\boxed{", "\\boxed{}", ""),
        (7, ["8"], ""),
    ],
)
def test_the_solution_is_a_final_answer_or_empty(
    truth: object, teacher: object, solution: str
) -> None:
    """The ground truth first; the teacher's where that has none; never a text without an answer."""
    raw = openthoughts(ground_truth_solution=truth, deepseek_solution=teacher)
    assert openthoughts_row(raw)["solution"] == solution


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"domain": "astrology"}, "domain is not one of .*: 'astrology'"),
        ({"domain": None}, "domain is not one of .*: None"),
        ({"domain": ["math"]}, "domain is not one of"),
        ({"deepseek_reasoning": None}, "deepseek_reasoning is missing"),
        ({"deepseek_reasoning": "..."}, "has no reasoning"),
        ({"problem": " "}, "problem is missing"),
    ],
)
def test_an_openthoughts_row_without_its_three_fields_is_refused(
    change: dict[str, Any], reason: str
) -> None:
    """Each with a reason of its own."""
    with pytest.raises(FormatError, match=reason):
        openthoughts_row(openthoughts(**change))


def test_a_program_is_no_final_answer() -> None:
    """A number in it is not what the task asks for."""
    raw = openthoughts(domain="code", ground_truth_solution="return 1", deepseek_solution=None)
    assert openthoughts_row(raw)["solution"] == ""


def test_a_path_may_speak_of_tags() -> None:
    """The column holds reasoning alone, so nothing in it ends it."""
    path = "To write XML I use the tag <answer> and close it."
    assert openthoughts_row(openthoughts(deepseek_reasoning=path))["teacher_reasoning"] == path


@pytest.mark.parametrize("text", ["Problem {}: no steps", "[Meta-reasoning 1]: {}"])
def test_one_fault_has_one_reason_in_all_rows(text: str) -> None:
    """Jobs count by what stands before the first colon."""
    reasons = set()
    for number in range(3):
        with pytest.raises(FormatError) as error:
            gsrm_sft_row(pair(structure=text.format(number)))
        reasons.add(str(error.value).partition(":")[0])
    assert reasons == {"the structure has no whole step"}


def test_a_row_without_a_solution_can_be_read_again() -> None:
    """What `rlkd prepare openthoughts` writes is a row of our own format."""
    row = openthoughts_row(
        openthoughts(domain="code", ground_truth_solution=None, deepseek_solution=None)
    )
    assert grpo_row(row) == row


@pytest.mark.parametrize("domain", ["math", "science", "code", "puzzle"])
def test_the_gsrm_learns_the_prompt_that_it_is_served(domain: str) -> None:
    """The user's turn is the serving prompt, the assistant's the canonical structure."""
    row = gsrm_sft_row(pair(domain=domain, structure=f"Sure!\n{STRUCTURE}"))
    prompt = decompose_prompt("gsrm", domain, row["problem"], row["reasoning_path"])
    assert row["messages"] == [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": STRUCTURE},
    ]


def test_a_grpo_row_with_its_structure_is_a_pair() -> None:
    """`teacher_reasoning` and `teacher_structure` stand for the two texts."""
    raw = pair(reasoning_path=None, structure=None)
    raw |= {"teacher_reasoning": "She has 2 + 3 = 5 pens.", "teacher_structure": STRUCTURE}
    assert gsrm_sft_row(raw) == gsrm_sft_row(pair())


def test_a_pair_can_be_read_again() -> None:
    """What `rlkd prepare gsrm-sft` writes is an R-S pair."""
    row = gsrm_sft_row(pair())
    assert gsrm_sft_row(row) == row


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"structure": "It is 5."}, "no whole step"),
        ({"structure": STRUCTURE.partition("\n\nSo")[0]}, "final answer: after step 1"),
        ({"structure": STRUCTURE.replace("So the", "[Answer 3]: 5\n\nSo the")}, "breaks off"),
        ({"structure": None}, "teacher_structure is missing"),
        ({"reasoning_path": " "}, "reasoning_path is missing"),
        ({"domain": "law"}, "domain is not one of"),
    ],
)
def test_a_pair_that_would_teach_a_broken_structure_is_refused(
    change: dict[str, Any], reason: str
) -> None:
    """A GSRM trained on it would learn to break off."""
    with pytest.raises(FormatError, match=reason):
        gsrm_sft_row(pair(**change))


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        ("\\boxed{2} \\boxed{ 2 }", "2"),
        ("\\boxed{1} \\boxed{2}", None),
        ("\\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1", None),
        ("none", None),
        ("\\boxed{}", ""),
    ],
)
def test_a_box_is_read_with_its_braces(text: str, boxed: str | None) -> None:
    """Braces inside are counted."""
    assert last_boxed(text) == boxed
