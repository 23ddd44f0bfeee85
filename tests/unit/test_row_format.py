"""Rows of other formats become rows for GRPO, or are refused with a reason."""

import pytest

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.row_format import boxed, grpo_row, gsm8k_row, sft_row, verifies

OURS = {"problem": "1 + 1?", "domain": "math", "teacher_reasoning": "1 + 1 = 2.", "answer": "2"}


def test_an_sft_row_has_to_end_with_the_assistants_turn() -> None:
    """GRPO rows have none: ms-swift would train on no token, and say nothing."""
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    assert sft_row({**OURS, "messages": turns})["messages"] == turns
    for row in (OURS, {**OURS, "messages": turns[:1]}):
        with pytest.raises(FormatError, match="the last message is not the assistant's"):
            sft_row(row)


def test_a_gsm8k_row_becomes_ours() -> None:
    """Calculator notes and the result line leave the path; the result becomes the solution."""
    raw = {"question": "Two and three?", "answer": "It is 2+3 = <<2+3=5>>5.\n#### 5"}
    assert gsm8k_row(raw) == {
        "messages": [{"role": "user", "content": "Two and three?"}],
        "solution": "\\boxed{5}",
        "problem": "Two and three?",
        "domain": "math",
        "teacher_reasoning": "It is 2+3 = 5.",
        "teacher_structure": None,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problem": " "}, "problem is missing"),
        ({"problem": [7]}, "problem is missing"),
        ({"teacher_reasoning": None}, "teacher_reasoning is missing"),
        ({"domain": "history"}, "domain is not one of"),
        ({"answer": None}, "answer is missing"),
        ({"solution": [4]}, "solution is missing or not a text"),
        ({"solution": "two words only"}, "gold answer does not verify"),
        ({"teacher_structure": 7}, "teacher_structure is not a text"),
        ({"messages": "x"}, "messages is not a list"),
        ({"messages": [1]}, "a message has no role or content"),
        ({"messages": [{"role": "user", "content": None}]}, "a message has no role or content"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "a message has no role or content"),
        (
            {"teacher_structure": "x", "teacher_reasoning": [7]},
            "teacher_reasoning is missing or no",
        ),
        ({"answer": "(" * 13 + "1" + ")" * 13}, "gold answer does not verify"),
        ({"answer": "1+" * 120 + "1"}, "gold answer does not verify"),
        ({"answer": "}"}, "gold answer does not verify"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    """Each fault has a reason of its own, by which the jobs count."""
    with pytest.raises(FormatError, match=reason):
        grpo_row({**OURS, **change})


def test_a_row_without_a_domain_is_of_mathematics() -> None:
    """Missing or null: a table has null where JSON lines leave it out."""
    for domain in ({}, {"domain": None}):
        raw = {k: v for k, v in OURS.items() if k != "domain"} | domain
        assert grpo_row(raw)["domain"] == "math"


def test_a_structure_may_stand_in_for_the_path() -> None:
    """With `teacher_structure` there, the path may be missing."""
    row = grpo_row({**OURS, "teacher_reasoning": None, "teacher_structure": "[Meta-reasoning 1]"})
    assert row["teacher_structure"] == "[Meta-reasoning 1]"


@pytest.mark.parametrize(
    ("result", "solution"),
    [
        ("#### 24\n\nA paragraph that speaks of 7 other things.", "\\boxed{24}"),
        ("#### 24\n#### Note\nSee 3.", "\\boxed{24}"),
        ("#### Step 2\nadd\n#### 24", "\\boxed{24}"),
        ("#### 24\n\nSo it is:\n#### 24", "\\boxed{24}"),
        ("#### 1,234", "\\boxed{1,234}"),
        ("#### $24", "\\boxed{$24}"),
        ("#### 24.", "\\boxed{24}"),
        ("#### 24 apples", "\\boxed{24\\text{ apples}}"),
        ("#### 2 1/2", "\\boxed{2\\frac{1}{2}}"),
        ("####24", "\\boxed{24}"),
    ],
)
def test_a_gsm8k_result_is_its_line(result: str, solution: str) -> None:
    """What stands behind the line is no part of it, nor of the path."""
    row = gsm8k_row({"question": "?", "answer": f"20 + 4 = 24\n{result}"})
    assert row["solution"] == solution
    assert row["teacher_reasoning"].startswith("20 + 4 = 24")
    assert "####" not in row["teacher_reasoning"].replace("#### Step 2", "").replace("#### 24", "")
    assert "paragraph" not in row["teacher_reasoning"]


def test_two_different_results_of_gsm8k_are_refused() -> None:
    with pytest.raises(FormatError, match="several result lines"):
        gsm8k_row({"question": "?", "answer": "a\n#### 24\nb\n#### 25"})


def test_numbers_are_texts_where_a_text_is_wanted() -> None:
    """In any field; a domain in any letter case."""
    row = grpo_row({"problem": 7, "domain": "Math", "teacher_reasoning": 1.5, "answer": 2})
    assert row["messages"] == [{"role": "user", "content": "7"}]
    assert (row["problem"], row["domain"], row["teacher_reasoning"]) == ("7", "math", "1.5")
    assert row["solution"] == "\\boxed{2}"


def test_an_sft_turn_that_was_cut_off_in_its_thinking_is_refused() -> None:
    """A model would learn to think until it is cut off."""
    turn = {"role": "user", "content": "1 + 1?"}
    for reply, message in (("<think>\nOne and", "never closes"), ("<think>a</think>2", None)):
        raw = {**OURS, "messages": [turn, {"role": "assistant", "content": reply}]}
        if message is None:
            assert sft_row(raw)["messages"] == raw["messages"]
        else:
            with pytest.raises(FormatError, match=message):
                sft_row(raw)


@pytest.mark.parametrize("answer", ["#### ", "no result line"])
def test_a_gsm8k_row_without_a_result_is_refused(answer: str) -> None:
    """Without a result there is nothing to be accurate about."""
    with pytest.raises(FormatError, match="no result line"):
        gsm8k_row({"question": "Why?", "answer": answer})


def test_a_boxed_number_verifies_and_prose_does_not() -> None:
    """The check is math-verify's own."""
    assert verifies("\\boxed{1,000}")
    assert not verifies("two words only")


@pytest.mark.parametrize(
    ("answer", "written_out"),
    [
        ("\\frac43", "\\frac{4}{3}"),
        ("\\frac 59", "\\frac{5}{9}"),
        ("\\frac9{19}", "\\frac{9}{19}"),
        ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}\\text{ degrees}"),
        ("11\\sqrt2", "11\\sqrt{2}"),
        ("\\dfrac{\\sqrt3}2", "\\dfrac{\\sqrt{3}}{2}"),
        ("(3,\\frac\\pi2)", "(3,\\frac{\\pi}{2})"),
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("\\sqrt[3]{5}", "\\sqrt[3]{5}"),
        ("\\sqrt\\pi", "\\sqrt{\\pi}"),
        ("\\frac{a}{b}c", "\\frac{a}{b}c"),
        ("12", "12"),
    ],
)
def test_shorthand_is_written_out_in_a_gold(answer: str, written_out: str) -> None:
    """What ms-swift's `accuracy` reads in a gold, it reads then in a completion as well."""
    assert boxed(answer) == f"\\boxed{{{written_out}}}"
    assert boxed(written_out) == boxed(answer)


@pytest.mark.parametrize("form", ["It is {}.", "{}", "<answer>{}</answer>"])
@pytest.mark.parametrize("answer", ["\\frac43", "11\\sqrt2", "(1, 2)", "x=5", "1,000", "25\\%"])
def test_a_gold_is_right_by_swifts_accuracy(answer: str, form: str) -> None:
    """With answer tags and without."""
    from swift.rewards import orms

    gold = boxed(answer)
    assert orms["accuracy"]()([form.format(gold)], [gold]) == [1.0]
