"""The source of `rlkd score`: its forms, its teachers, and every row that cannot be scored."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.scoring import BranchText
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_eval.scores.completion_rows import Completion, Form, form_of, read_row
from rlkd_plugin.rlkd_eval.scores.completion_source import CompletionSource
from rlkd_plugin.rlkd_eval.scores.evaluated_problems import evaluated_problems
from rlkd_plugin.rlkd_eval.scores.problem_index import ProblemIndex
from rlkd_plugin.rlkd_eval.scores.teacher_rows import Teacher, read_teacher
from rlkd_plugin.rlkd_eval.scores.teachers import read_teachers
from tests.support.row_lines import write

TEACHER = Teacher("P", "math", (BranchText("It is 1."),))
OWN = {"problem": "P", "teacher_reasoning": "It is 1."}
MESSAGES = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]


def read(raw: dict[str, Any], problems: dict[str, str] | None = None) -> list[Any]:
    """The completions of a row, and the words of the errors in place of some."""
    form = form_of(raw)
    assert form is not None
    try:
        found = read_row(form, raw, problems or {})
    except FormatError as error:
        found = [error]
    return [str(one) if isinstance(one, FormatError) else one for one in found]


def test_a_row_of_our_own_has_one_completion_or_several() -> None:
    assert read({**OWN, "completion": "a"}) == [Completion("a", "P", teacher=TEACHER)]
    assert read({**OWN, "completions": ["a", ""], "cut_off": [True, False]}) == [
        Completion("a", "P", teacher=TEACHER, cut_off=True),
        Completion("", "P", teacher=TEACHER),
    ]
    assert read({"problem": "P", "completion": "a", "is_truncated": True}) == [
        Completion("a", "P", cut_off=True)
    ]


@pytest.mark.parametrize(("word", "flag"), [("True", True), ("false", False), ("1", True)])
def test_a_flag_of_a_csv_is_a_word(word: str, flag: bool) -> None:
    row = {"problem": "P", "completion": "a", "is_truncated": word}
    assert read(row) == [Completion("a", "P", cut_off=flag)]


def test_a_step_of_a_training_is_a_table() -> None:
    table = {"step": ["3", "3"], "prompt": ["<|user|>P", "<|user|>Q"], "completion": ["a", "b"]}
    assert read({**table, "RlkdGsrm": [1.0, 0.5]}) == [  # step 3 is done: two were before it
        Completion("a", "<|user|>P", True, step=2),
        Completion("b", "<|user|>Q", True, step=2),
    ]
    assert read({"gen_step": 3, "prompt": "<|user|>P", "completion": "a", "reward": 0.5}) == [
        Completion("a", "<|user|>P", True, step=3)
    ]


def test_a_result_of_an_inference_is_asked_by_its_last_user_message() -> None:
    turns = [*MESSAGES, {"role": "assistant", "content": "a"}]
    row = {"response": "a", "labels": None, "messages": turns}
    assert read(row) == [Completion("a", "U", True)]
    assert read({**row, **OWN}) == [Completion("a", "P", teacher=TEACHER)]


def test_a_sample_of_an_evaluation_names_its_problem_by_number() -> None:
    row = {"problem": "s:0", "sample": 1, "right": True, "stop": "length", "response": "a"}
    assert read(row, {"s:0": "How many?"}) == [Completion("a", "How many?", True, cut_off=True)]
    assert read(row) == ["the evaluation has no such problem: 's:0'"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"completion": "a"}, "problem is missing or not a text: None"),
        ({**OWN, "completion": None}, "the completion is not a text: None"),
        ({**OWN, "completion": [{"role": "assistant"}]}, "the completion is not a text: [{'role'"),
        ({**OWN, "completion": "a", "completions": ["a"]}, "both completion and completions"),
        ({**OWN, "completions": "a"}, "completions is not a list: 'a'"),
        ({**OWN, "completions": ["a", 7]}, "the completion is not a text: 7"),
        (
            {**OWN, "completions": ["a"], "cut_off": [True, True]},
            "cut_off and the completions differ in length",
        ),
        ({**OWN, "completion": "a", "cut_off": "yes"}, "cut_off is neither true nor false: 'yes'"),
        ({**OWN, "completion": "a", "domain": "law"}, "domain is not one of math"),
        ({**OWN, "completion": "a", "teacher_structure": 7}, "teacher_structure is not a text: 7"),
        (
            {**OWN, "completion": "a", "teacher_branches": "x"},
            "teacher_branches is not a list: 'x'",
        ),
        ({"prompt": ["P"], "completion": []}, "prompt and completion differ in length: 1 and 0"),
        ({"prompt": ["P"], "completion": "a"}, "completion is not a list: 'a'"),
        ({"prompt": [7], "completion": ["a"]}, "the prompt is not a text: 7"),
        ({"response": "a", "messages": MESSAGES[:1]}, "the prompt is not a text: None"),
        (
            {"response": {"index": 1}, "messages": MESSAGES},
            "the completion is not a text: {'index'",
        ),
    ],
)
def test_what_cannot_be_scored_says_why(raw: dict[str, Any], words: str) -> None:
    *_, last = read(raw)
    assert isinstance(last, str)
    assert last.startswith(words)


def test_a_teacher_has_its_path_then_the_other_branches() -> None:
    row = {"problem": " P ", "teacher_reasoning": "one", "teacher_structure": "S"}
    assert read_teacher(row) == Teacher(" P ", "math", (BranchText("one", "S"),))
    branches = {"teacher_branches": ["one ", "two", "...", "two"]}
    teacher = read_teacher({**row, **branches, "teacher_structures": [None, "T", None, None]})
    assert teacher is not None
    assert teacher.branches == (BranchText("one", "S"), BranchText("two", "T"))
    assert teacher.sample("c", 1).more_branches == ()
    assert teacher.sample("c", 2).more_branches == (BranchText("two", "T"),)
    assert read_teacher({"problem": "P", "teacher_reasoning": "", "teacher_branches": []}) is None


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("What is 2?", "What is 2?"),
        ("<|user|>\nWhat  is\n2? Think.<|end|>", "What is 2?"),
        ("[INST]What is 2?[/INST]", "What is 2?"),
        # examples come first
        ("Q: What is 2? A: 2. Q: What is 3? A:", "What is 3?"),
        # the longest of problems inside each other
        ("Say: What is 2? And what is its double?", "What is 2? And what is its double?"),
        # a word goes on behind it: another problem
        ("What is 12", None),
        ("So What is 1 then", "What is 1"),
        ("x", "x"),
        ("ax x", "x"),
        ("nothing of it", None),
    ],
)
def test_the_problem_in_a_prompt(prompt: str, found: str | None) -> None:
    problems = ["What is 2?", "What is 3?", "What is 2?  And what is its double?", "What is 1", "x"]
    assert ProblemIndex(problems).find(prompt, is_prompt=True) == found


def test_a_problem_in_chinese_has_no_space_around_it() -> None:
    index = ProblemIndex(["小明有3个苹果 又买了4个 一共多少个", "求 x 的值", "x 的"])
    prompt = "请逐步推理小明有3个苹果 又买了4个 一共多少个请把答案放在盒子里"
    assert index.find(prompt, is_prompt=True) == "小明有3个苹果 又买了4个 一共多少个"
    assert index.find("请求 x 的值。", is_prompt=True) == "求 x 的值"
    assert index.find("请求 2x 的平方", is_prompt=True) is None


def test_a_problem_that_holds_another_one_is_not_that() -> None:
    index = ProblemIndex(["What is 2?"])
    assert index.find("What is 2? In binary.", is_prompt=False) is None
    assert index.find(" What is\n2?", is_prompt=False) == "What is 2?"


def test_teachers_of_a_second_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(
        tmp_path / "teachers.jsonl",
        {"problem": "What is 1?", "teacher_reasoning": "first"},
        {"problem": "What is  1?", "teacher_reasoning": "second"},
        {"problem": "What is 2?"},
        {"problem": "Nobody asks this.", "teacher_reasoning": 7},
        {"problem": "What is 3?", "teacher_structure": "S", "domain": "Physics"},
        "{broken",
    )
    asked = [Completion("a", f"<|user|>What is {n}?<|end|>", True) for n in (1, 2, 3, 4)]
    teachers = read_teachers(file, [(one.asked, one.is_prompt) for one in asked])
    assert [teachers.of(one) for one in asked] == [
        Teacher("What is 1?", "math", (BranchText("first"),)),
        None,
        Teacher("What is 3?", "science", (BranchText("", "S"),)),
        None,
    ]
    said = caplog.text
    assert "1 rows have no usable teacher: 1 x no teacher_reasoning, teacher_structure" in said
    assert "1 problems have several teachers; the first of each counts" in said
    own = Completion("a", "P", teacher=TEACHER)
    assert teachers.of(own) is TEACHER


def test_teachers_of_other_problems_are_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "teachers.jsonl", {"problem": "Q", "teacher_reasoning": "It is 1."})
    words = (
        r"teachers\.jsonl has none of the problems of the completions; .* prompt is '<\|user\|>P"
    )
    with pytest.raises(RlkdError, match=words):
        read_teachers(file, [("<|user|>P", True)])
    empty = write(tmp_path / "empty.jsonl")
    with pytest.raises(RlkdError, match="has no row with a problem: give rows"):
        read_teachers(empty, [("P", False)])


def source(file: Path) -> CompletionSource:
    """The source of one file."""
    return CompletionSource(file, [file])


def test_a_table_that_was_written_twice_is_told(tmp_path: Path) -> None:
    """ms-swift writes the last one again at the end of a training."""
    table = {"step": ["1"], "prompt": ["P"], "completion": ["a"], "advantages": [0.5]}
    again = {**table, "advantages": [0.0]}
    later = {**table, "step": ["2"]}
    found = source(write(tmp_path / "completions.jsonl", table, again, later))
    assert found.form is Form.TRAINING
    assert [row.is_repeated for row in found.rows()] == [False, True, False]


def test_a_row_without_a_completion_is_one_that_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {"problem": "P"}, "{broken", {**OWN, "completion": "a"})
    found = [str(row.completions[0]) for row in source(file).rows()]
    assert found[:2] == [
        "no completion: problem",
        "broken JSON: Expecting property name enclosed in double quotes, character 2",
    ]


def test_rows_of_two_forms_are_an_error_that_names_both(tmp_path: Path) -> None:
    rows = [{**OWN, "completion": "a"}, {"response": "a", "messages": MESSAGES}]
    file = write(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(RlkdError) as error:
        list(source(file).rows())
    assert str(error.value) == (
        f"{file} has rows of two formats: {file}:1 is a row with a problem and its completion or "
        f"completions, {file}:2 is a result of `swift infer`; score each format by itself, into "
        "its own OUT"
    )


def test_a_source_without_a_completion_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"rows\.jsonl is empty: there is no completion to score"):
        source(write(tmp_path / "rows.jsonl"))
    file = write(tmp_path / "rows.jsonl", {"problem": "P", "solution": "1"})
    words = r"has no completion in 1 rows \(the last one: its columns are problem, solution\)"
    with pytest.raises(RlkdError, match=words):
        source(file)


def test_the_problems_of_an_evaluation_stand_beside_its_samples(tmp_path: Path) -> None:
    samples = tmp_path / "samples" / "math500.jsonl"
    reviews = tmp_path / "evalscope" / "math500" / "reviews" / "model"
    with pytest.raises(
        RlkdError, match=r"has only the numbers of its problems; their texts are missing"
    ):
        evaluated_problems(samples)
    reviews.mkdir(parents=True)
    parts = [{"type": "text", "text": "What is 2?"}, {"type": "text", "text": "Think."}]
    review = {
        "index": 0,
        "messages": [*MESSAGES, {"role": "user", "content": parts}],
        "sample_score": {"group_id": 4, "generation_index": 0},
    }
    write(reviews / "math_500_Level 1.jsonl", review)
    assert evaluated_problems(samples) == {"math_500_Level 1:4": "What is 2?\nThink."}
    write(reviews / "math_500_Level 1.jsonl", json.dumps({"index": 0}))
    with pytest.raises(
        RlkdError, match=r"Level 1\.jsonl:1 is not a line that evalscope writes here"
    ):
        evaluated_problems(samples)
