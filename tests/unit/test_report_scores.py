"""The section of `rlkd report` on scored completions: figures, intervals, what to beware of."""

import json
from pathlib import Path

import pytest

from rlkd_plugin.engines.trace import read_rows
from rlkd_plugin.rlkd_data.jobs.record import record_file
from rlkd_plugin.rlkd_eval.report.charts import Chart
from rlkd_plugin.rlkd_eval.report.report import write_report
from rlkd_plugin.rlkd_eval.report.score_figures import cautions, reward_charts, score_table
from rlkd_plugin.rlkd_eval.report.sources import Source, read_sources
from rlkd_plugin.rlkd_eval.scores.score_lines import TRACE, outdated_lines
from tests.support.report_folders import grpo_run, scored, trace_line, write_lines


def row_of(source: Source) -> dict[str, str]:
    table = score_table([source])
    assert table is not None
    ((name, cells),) = table.rows
    return dict(zip(table.header, [name, *(cell.text for cell in cells)], strict=True))


def chart_of(*folders: Path) -> Chart:
    (chart,) = reward_charts(read_sources(folders))
    return chart


def test_the_table_has_what_the_command_prints(tmp_path: Path) -> None:
    (source,) = read_sources([scored(tmp_path / "step_100", [0.5, 1.0, 3.0, None])])
    # of 3 rewards; r / n with the teacher's 3 steps; a line matches one of the two steps reached,
    # of both the plans 1, the questions 1 and the answers 0
    assert row_of(source) == {
        "folder": "step_100",
        "completions": "4",
        "mean reward": "1.5000",
        "mean r / n": "50.0%",
        "mean matched depth": "1.0000",
        "matched meta-reasoning": "50.0%",
        "matched sub-problem": "50.0%",
        "matched answer": "0.0%",
        "undecomposable": "0 (0.0%)",
    }
    assert source.remarks == ()


def test_a_count_that_some_folder_has_is_a_column(tmp_path: Path) -> None:
    folders = [scored(tmp_path / "a", [1.0]), scored(tmp_path / "b", [1.0])]
    cut = {"row": "1", **trace_line(cut_off=True)}
    write_lines(folders[1] / TRACE, [cut, {"row": "2", **trace_line()}])
    table = score_table(read_sources(folders))
    assert table is not None and table.header[-2:] == ("undecomposable", "cut off")
    assert [cells[-1].text for _, cells in table.rows] == ["0 (0.0%)", "1 (50.0%)"]


def test_the_chart_has_the_folders_in_the_order_given(tmp_path: Path) -> None:
    rewards = {"b": [0.0, 1.0, 2.0, 3.0], "a": [2.0, 2.0, 2.0, 2.0], "c": [1.0, 1.0], "d": [None]}
    chart = chart_of(*(scored(tmp_path / name, found) for name, found in rewards.items()))
    (points,) = chart.figure["data"]
    assert chart.figure["layout"]["yaxis"]["ticktext"] == ["b", "a", "c"]
    assert list(points["x"]) == [1.5, 2.0, 1.0]
    assert list(points["y"]) == [0, 1, 2]  # from the top
    # b: problems with the means 0.5 and 2.5, of which both may be drawn twice
    assert chart.rows == [
        ("b", "1.5000", "0.5000 to 2.5000", "2", "4"),
        ("a", "2.0000", "2.0000 to 2.0000", "2", "4"),
        ("c", "1.0000", "–", "1", "2"),  # noqa: RUF001 - one problem tells nothing of others
    ]


def test_long_names_leave_room_on_a_phone(tmp_path: Path) -> None:
    chart = chart_of(scored(tmp_path / f"<b>{'long' * 20}", [1.0]), scored(tmp_path / "b", [1.0]))
    long, short = chart.figure["layout"]["yaxis"]["ticktext"]
    assert short == "b" and long.startswith("&lt;b&gt;longlong")
    assert long.count("<br>") == 2 and long.endswith("…")
    names = [f"{'long' * 20} {i}" for i in range(12)]
    higher = chart_of(*(scored(tmp_path / name, [1.0]) for name in names))
    assert (
        higher.lanes == chart_of(*(scored(tmp_path / str(i), [1.0]) for i in range(12))).lanes + 12
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"judge": "other"}, "The rows are not comparable: judge: None (a, c), other (b)."),
        ({"reward_scale": "teacher"}, "reward_scale: steps (a, c), teacher (b)."),
        ({"gsrm": "two", "branches": 4}, "gsrm: one (a, c), two (b); branches: None (a, c), 4 (b)"),
        ({"served_revision": "x"}, ""),  # that one server tells it is no difference
    ],
)
def test_rows_of_other_makers_are_said_not_to_be_comparable(
    facts: dict[str, object], said: str, tmp_path: Path
) -> None:
    folders = [scored(tmp_path / name, [1.0]) for name in "ac"]
    folders.insert(1, scored(tmp_path / "b", [1.0], **facts))
    found = cautions(read_sources(folders))
    assert said in " ".join(found) and bool(found) == bool(said)
    page = write_report(folders, tmp_path / "r.html")[0].read_text("utf-8")
    assert ("The rows are not comparable" in page) == bool(said)
    assert cautions(read_sources(folders[:1])) == []


def test_rows_of_other_problems_are_said_to_be(tmp_path: Path) -> None:
    folders = [scored(tmp_path / "a", [1.0] * 4), scored(tmp_path / "b", [1.0] * 6)]
    assert cautions(read_sources(folders)) == [
        "The rows are of different problems: 2 in a, 3 in b; 2 are in all of them."
    ]


def test_a_folder_without_a_record_and_one_that_is_not_done_are_remarked(tmp_path: Path) -> None:
    folders = [scored(tmp_path / "a", [1.0], is_done=False), scored(tmp_path / "b", [1.0])]
    record = record_file(folders[1] / TRACE)
    record.unlink()
    going, unknown = read_sources(folders)
    assert going.remarks == ("`rlkd score` is still running, or was stopped before its end",)
    assert unknown.remarks == (
        f"there is no {record.name}: the settings of the scores are not known",
    )
    assert cautions([going, unknown]) == [
        "Whether the rows are comparable is not known: b has no record."
    ]
    record.write_text("[]")
    assert "is not a record of a job" in read_sources(folders)[1].remarks[0]


def test_the_page_has_the_section_for_scores_alone(tmp_path: Path) -> None:
    heading = ">Structure of scored completions</h2>"
    training = grpo_run(tmp_path / "run")
    page = write_report([scored(tmp_path / "a", [0.5, 2.5]), training], tmp_path / "r.html")[0]
    text = page.read_text("utf-8")
    assert heading in text and "<td>1.5000</td>" in text
    assert "completions scored: 2" in text and "completions traced: 48" in text
    assert heading not in write_report([training], tmp_path / "r.html")[0].read_text("utf-8")


def test_each_completion_counts_once_by_its_newest_line(tmp_path: Path) -> None:
    folder = scored(tmp_path, [0.0, 1.0])
    old, other = (folder / TRACE).read_text("utf-8").splitlines()
    rejected = {"status": "refused", "steps": []}
    first = {**json.loads(old), "student": rejected, "verdicts": [], "step_scores": []}
    # a run that was stopped has scored it anew; half a line of a kill replaces nothing
    write_lines(folder / TRACE, [first, other, {**json.loads(old), "reward": 2.0}, old[:60]])
    (source,) = read_sources([folder])
    assert source.traces is not None and source.traces.seen.total() == 2
    assert source.traces.rows == 2 and source.traces.unreadable == 1
    assert row_of(source)["completions"] == "2"
    assert row_of(source)["mean reward"] == "1.5000"
    assert "rejected" not in row_of(source)
    assert len([*read_rows(folder / TRACE)]) == 3


@pytest.mark.parametrize(
    ("lines", "outdated"),
    [
        ([], None),
        ([b'{"step": 1}', b'{"row": "1"}'], None),  # a training's trace
        ([b"{", b"\xff", b'{"row": "1"}', b'{"row": "2"}', b'{"step": 1}', b'{"row": "1"}'], {2}),
        ([b'{"row": "1"}', b'{"row": "1"}', b'{"row": "1"}', b'{"row": "1'], {0, 1}),
    ],
)
def test_which_lines_are_outdated(lines: list[bytes], outdated: set[int] | None) -> None:
    assert outdated_lines(lines) == outdated
