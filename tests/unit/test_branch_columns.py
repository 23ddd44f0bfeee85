"""The columns of a teacher's branches, as ms-swift hands them to the reward."""

from typing import Any

import pytest

from rlkd_plugin.engines.scoring import BranchText
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.swift_hooks.rewards.columns import read_samples


def branches_of(
    paths: Any,
    structures: Any = None,
    *,
    reasoning: str | None = "one",
    structure: str | None = None,
    count: int = 4,
) -> tuple[BranchText, ...]:
    """Return the branches of a batch of one completion."""
    (sample,) = read_samples(
        ["c"], ["p"], ["math"], [reasoning], [structure], [paths], [structures], count
    )
    return sample.branches


def reasonings(*args: Any, **kwargs: Any) -> list[str]:
    return [one.reasoning for one in branches_of(*args, **kwargs)]


@pytest.mark.parametrize("paths", [None, [], ["one"], ["one", None], [" one ", "", "..."], ()])
def test_a_row_without_further_paths_has_one_branch(paths: Any) -> None:
    assert reasonings(paths) == ["one"]


def test_the_first_path_is_that_of_the_column_wherever_it_stands() -> None:
    assert reasonings(["two", "one", "three"]) == ["one", "two", "three"]


def test_duplicates_take_no_place() -> None:
    assert reasonings(["one", "two", " one", "two\n", "three"], count=3) == ["one", "two", "three"]


def test_the_setting_says_how_many_of_fifty_count() -> None:
    assert reasonings([f"path {n}" for n in range(50)]) == ["one", "path 0", "path 1", "path 2"]
    assert len(reasonings([f"path {n}" for n in range(50)], count=99)) == 51


def test_one_branch_reads_no_further_path() -> None:
    wrong: Any = [42]
    (sample,) = read_samples(["c"], ["p"], ["math"], ["one"], None, wrong, wrong, branches=1)
    assert sample.branches == (BranchText("one"),)


def test_structures_belong_to_their_paths() -> None:
    found = branches_of(["two", "one"], ["of two", "of one"])
    assert found == (BranchText("one", "of one"), BranchText("two", "of two"))


def test_the_first_structure_of_a_path_counts() -> None:
    found = branches_of(["one", "two", "two"], ["other", None, "of two"], structure="of one")
    assert found == (BranchText("one", "of one"), BranchText("two", "of two"))


@pytest.mark.parametrize("reasoning", [None, "", "...", "<think></think>"])
def test_a_first_path_without_reasoning_takes_no_place(reasoning: str | None) -> None:
    assert reasonings(["two", "<think>\n</think>", "three"], reasoning=reasoning, count=2) == [
        "two",
        "three",
    ]


def test_a_first_structure_without_a_path_is_a_branch() -> None:
    found = branches_of(["two"], reasoning=None, structure="of one")
    assert found == (BranchText("", "of one"), BranchText("two"))


def test_a_row_without_any_path_keeps_what_it_has() -> None:
    assert branches_of(None, reasoning=None) == (BranchText(""),)


@pytest.mark.parametrize(
    ("paths", "structures", "message"),
    [
        ('["one", "two"]', None, r"needs lists of texts; row 0 of a batch has '\[\"one\""),
        ({"one": "two"}, None, "needs lists of texts; row 0 of a batch has {'one': 'two'}"),
        (
            ["one", 2],
            None,
            "teacher_branches needs lists of texts; a list in row 0 of a batch has 2",
        ),
        (["one", ["two"]], None, r"a list in row 0 of a batch has \['two'\]"),
        (["one", "two"], "x", "needs lists of texts; row 0 of a batch has 'x'"),
        (["one", "two"], ["x"], "row 0 of a batch has 1 teacher_structures for 2 teacher_branches"),
        (None, ["x"], "row 0 of a batch has 1 teacher_structures for 0 teacher_branches"),
    ],
)
def test_what_is_no_list_of_texts_is_an_error(paths: Any, structures: Any, message: str) -> None:
    with pytest.raises(RlkdError, match=message):
        branches_of(paths, structures)


def test_data_without_the_column_are_an_error() -> None:
    with pytest.raises(RlkdError, match="RLKD_BRANCHES=2 needs the column teacher_branches"):
        read_samples(["c"], ["p"], ["math"], ["one"], None, branches=2)


def test_a_shorter_column_is_an_error() -> None:
    with pytest.raises(RlkdError, match="teacher_branches has 1 values for 2 completions"):
        read_samples(["c"] * 2, ["p"] * 2, ["math"] * 2, ["one"] * 2, None, [["two"]], branches=2)
