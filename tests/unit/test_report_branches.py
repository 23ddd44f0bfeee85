"""`rlkd report` of completions with several branches of a teacher, and of steps beyond its last."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.trace import TraceRow, parse_row
from rlkd_plugin.rlkd_eval.report.alignment import alignment
from rlkd_plugin.rlkd_eval.report.branch_ends import NOT_KEPT, explain_branch, other_branches
from rlkd_plugin.rlkd_eval.report.branch_figures import GAIN_NOTE, WON_NOTE, branches
from rlkd_plugin.rlkd_eval.report.report import write_report
from rlkd_plugin.rlkd_eval.report.run_figures import endings, health
from rlkd_plugin.rlkd_eval.report.sources import read_sources
from rlkd_plugin.rlkd_eval.report.walk_ends import explain, is_longer_than_teacher
from tests.support.report_folders import branched_line, log_entry, trace_line, write_lines


def row(line: dict[str, Any]) -> TraceRow:
    found = parse_row(json.dumps(line).encode())
    assert found is not None
    return found


def completion(folder: Path, line: dict[str, Any]) -> dict[str, Any]:
    """What the page's script gets of a completion."""
    write_lines(folder / "rlkd_trace_rank0.jsonl", [line])
    (run,) = alignment(read_sources([folder]))
    return run["steps"][0]["rows"][0]


def test_the_branch_that_won_is_first_and_the_others_follow(tmp_path: Path) -> None:
    found = completion(tmp_path, branched_line())
    assert (found["number"], found["how"], found["least"]) == (2, "won", 0.5)
    assert [(one["number"], one["how"]) for one in found["others"]] == [
        (1, "compared"),
        (3, "dropped"),
        (4, "no_structure"),
    ]
    first, dropped, _ = found["others"]
    assert (first["scores"], first["why"], first["wrong"]) == ((0.0,), "meta_reasoning", "")
    assert first["teacher"]["steps"][0][0] == "Draw box 1"
    assert first["verdicts"] == [[1, "meta_reasoning", False, None, "text"]]
    assert (dropped["least"], dropped["most"], dropped["wrong"]) == (0.25, 0.5, "")


def test_a_completion_with_one_teacher_is_as_before(tmp_path: Path) -> None:
    found = completion(tmp_path, trace_line())
    assert not {"number", "how", "others"} & found.keys()


def test_it_is_said_why_a_branch_did_not_win() -> None:
    first, dropped, none = other_branches(row(branched_line()))
    assert explain_branch(first, 0.5) == "the meta-reasoning of step 1 did not match"
    assert explain_branch(dropped, 0.5) == "it could earn at most 0.5, the winner has 0.5"
    assert explain_branch(none, 0.5) == (
        "this branch has no structure (status: undecomposable); in place of the teacher's "
        "structure the GSRM wrote: I cannot"
    )


def test_a_branch_that_algorithm_1_does_not_give_is_told() -> None:
    line = branched_line()
    line["branches"][0]["step_scores"] = [1.0]
    assert other_branches(row(line))[0].wrong == "Algorithm 1 gives 0, the trace says 1"


def test_steps_that_the_trace_has_not_kept_are_no_fault_of_the_line() -> None:
    """The student was read as far as the branches needed it that could win in the end."""
    line = branched_line()
    line["student"] = line["student"] | {
        "steps": line["student"]["steps"][:1],
        "stopped_early": True,
        "unfinished": [],
    }
    yes, no = line["verdicts"][0], line["verdicts"][3]
    asked = [yes | {"field": f} for f in ("meta_reasoning", "sub_problem", "answer")]
    line["branches"][0] |= {"verdicts": [*asked, no], "step_scores": [1.0, 0.0]}
    first = other_branches(row(line))[0]
    assert first.wrong == ""
    assert explain_branch(first, 0.5).endswith(NOT_KEPT)


def test_a_line_whose_winner_is_no_branch_is_shown() -> None:
    """All its branches are others then."""
    assert [one.number for one in other_branches(row(branched_line(branch=9)))] == [1, 2, 3, 4]


STEPS = [["M", "Q", "A"]] * 3


@pytest.mark.parametrize(
    ("teachers", "students", "scores", "known", "expected"),
    [
        (1, 2, [1.0], False, True),  # a line of before: its steps tell
        (2, 2, [1.0, 0.5], False, False),
        (2, 2, [1.0, 0.5], True, True),  # streamed: the third had begun
        (2, 3, [1.0, 0.0], False, False),  # left the teacher before its last step
        (3, 2, [1.0, 1.0], False, False),
    ],
)
def test_a_student_that_goes_on_behind_the_teacher_is_said_to(
    teachers: int, students: int, scores: list[float], known: bool, expected: bool
) -> None:
    line = trace_line(
        teacher={"steps": STEPS[:teachers]},
        student={"steps": STEPS[:students]},
        step_scores=scores,
        beyond_teacher=known,
    )
    assert is_longer_than_teacher(row(line)) is expected
    said = "the student continues beyond the teacher's last step" in explain(row(line))
    assert said is expected


def branched_run(folder: Path) -> Path:
    """Write a run of two steps with branches."""
    numbers = {"rlkd/other_branch": 0.0, "rlkd/branch_gain": 0.25, "rlkd/branch_gain_at_most": 0.75}
    write_lines(folder / "logging.jsonl", [log_entry(i, 2) | numbers for i in (1, 2)])
    write_lines(folder / "rlkd_trace_rank0.jsonl", [branched_line(0), trace_line(1)])
    return folder


def test_branches_are_charts_also_where_no_other_one_won(tmp_path: Path) -> None:
    sources = read_sources([branched_run(tmp_path / "run")])
    won, gain = branches(sources)
    assert list(won.figure["data"][0]["y"]) == [0.0, 0.0]
    assert won.rows[0] == ("1", "0.0%")
    assert gain.header == ("step", "run: at least", "run: at most")
    assert gain.rows == [("1", "0.25", "0.75"), ("2", "0.25", "0.75")]
    assert (won.note, gain.note) == (WON_NOTE, GAIN_NOTE)
    page = write_report([tmp_path / "run"])[0].read_text("utf-8")
    assert ">Branches of the teacher</h2>" in page


def test_a_run_of_one_branch_has_no_section_for_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "logging.jsonl", [log_entry(1, 1)])
    assert branches(read_sources([tmp_path])) == []
    assert "Branches of the teacher</h2>" not in write_report([tmp_path])[0].read_text("utf-8")


def test_the_ends_of_comparisons_are_those_of_the_winners(tmp_path: Path) -> None:
    (chart,) = endings(read_sources([branched_run(tmp_path / "run")]))
    assert chart.header == ("step", "a meta-reasoning did not match")
    assert chart.note == (
        "all 2 completions of the traces; of several teacher branches the winning one counts"
    )


def test_the_chart_of_steps_beyond_the_teachers_says_what_they_cost(tmp_path: Path) -> None:
    line = log_entry(1, 1) | {"rlkd/beyond_teacher": 0.5}
    write_lines(tmp_path / "logging.jsonl", [line])
    charts = {chart.key: chart for chart in health(read_sources([tmp_path]))[0]}
    assert "RLKD_EXTRA_STEPS=divide prices them" in charts["health-beyond_teacher"].note
