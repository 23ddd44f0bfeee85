"""`comparison.json`: its schema, and how the report shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.comparison import (
    COMPARISON,
    ArmCost,
    ArmDifference,
    Comparison,
    read_comparison,
)
from rlkd_plugin.rlkd_eval.kept_files import write_json
from rlkd_plugin.rlkd_eval.paired import Difference
from rlkd_plugin.rlkd_eval.report.arm_figures import cost_table, forests
from rlkd_plugin.rlkd_eval.report.report import write_report
from tests.support.report_folders import arm_cost, arm_difference, comparison, evaluation


def difference(value: float, unit: str = "share", **changed: Any) -> ArmDifference:
    """Return a difference with an interval of 0.04 to either side."""
    whole = {
        "test_set": "known",
        "measure": "pass@1",
        "first": "RLKD",
        "second": "GRPO",
        "seeds": 3,
        "problems": 2000,
        "difference": Difference(value, value - 0.04, value + 0.04, 0.02),
    }
    return ArmDifference(unit=unit, **(whole | changed))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cost = ArmCost(
        arm="SFT", steps=9, seconds=1.5, completions=0, tokens_generated=0, tokens_trained=99
    )
    whole = Comparison(
        label="L", about=("It shows.",), differences=(difference(0.1),), costs=(cost,)
    )
    write_json(tmp_path / COMPARISON, whole)
    assert read_comparison(tmp_path) == whole


def test_a_file_of_another_version_is_read(tmp_path: Path) -> None:
    later = {"label": "L", "differences": [arm_difference(new=1)], "newer": []}
    del later["differences"][0]["unit"]
    (tmp_path / COMPARISON).write_text(json.dumps(later), "utf-8")
    found = read_comparison(tmp_path)
    assert (found.about, found.costs, found.differences[0].unit) == ((), (), "share")


def a_comparison(**changed: Any) -> str:
    whole = {"label": "L", "differences": [arm_difference()], "costs": [arm_cost()]}
    return json.dumps(whole | changed)


def one_difference(**changed: Any) -> str:
    return a_comparison(differences=[arm_difference(**changed)])


def ends(**changed: Any) -> str:
    return one_difference(difference=arm_difference()["difference"] | changed)


BROKEN = [
    *("", "[]", "{}", "null", "{", "[" * 5000, '{"label": "L"}'),
    *(a_comparison(label=label) for label in (5, None)),
    *(a_comparison(differences=d) for d in ([], None, {}, [5], [{}], [arm_difference()] * 2)),
    *(a_comparison(about=about) for about in ("a sentence", [5], None)),
    *(a_comparison(costs=costs) for costs in (None, [{}], [arm_cost()] * 2)),
    *(one_difference(**{name: 5}) for name in ("test_set", "measure", "unit", "first", "second")),
    *(one_difference(**{n: v}) for n in ("seeds", "problems") for v in (0, -1, 1.5, "3", 10**30)),
    *(one_difference(difference=value) for value in (None, 0.1, [0.1, 0, 1, 0.1], {})),
    *(ends(low=0.5), ends(high=-0.5), ends(error=-0.1), ends(value="x"), ends(value=None)),
    *(ends(high=1.5), ends(value=-2, low=-3), ends(high=1e308), ends(error=1e308)),
    *(ends().replace("0.031", number) for number in ("NaN", "1e999", "-Infinity")),
    *(a_comparison(costs=[arm_cost(steps=value)]) for value in (-1, 0.5, "9", 10**30)),
    *(a_comparison(costs=[arm_cost(seconds=value)]) for value in (-1, "9", 1e300, None)),
    *(a_comparison(costs=[arm_cost(note=5)]), a_comparison(costs=[arm_cost(arm=None)])),
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / COMPARISON).write_text(text, "utf-8")
    with pytest.raises(RlkdError, match=r"has no comparison \(comparison\.json\): "):
        read_comparison(tmp_path)
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert f"{tmp_path}: comparison.json is not readable: " in done.output
    assert done.output.startswith("rlkd: ") and done.output.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == [COMPARISON]


def test_a_broken_file_is_a_remark_beside_others(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / COMPARISON).write_text("{", "utf-8")
    _, remarks = write_report([tmp_path / "bad", evaluation(tmp_path / "e", "E")])
    assert remarks == ["bad: comparison.json is not readable: Input data was truncated"]


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"has no comparison \(comparison.json\): .*No such file"):
        read_comparison(tmp_path)


def test_no_chart_mixes_measures_or_units() -> None:
    found = Comparison(
        label="L",
        differences=(
            difference(0.1),
            difference(0.5, "steps", measure="depth"),
            difference(0.2, measure="pass@8"),
            difference(0.3, "steps"),  # the same name, in another unit
        ),
    )
    charts = forests("paired-0", found)
    assert [chart.title for chart in charts] == [
        "pass@1: difference, in percentage points",
        "depth: difference, in steps",
        "pass@8: difference, in percentage points",
        "pass@1: difference, in steps",
    ]
    assert [chart.figure["data"][0]["x"] for chart in charts] == [[10], [0.5], [20], [0.3]]
    assert len({chart.key for chart in charts}) == 4


def test_a_row_is_a_pair_of_arms_and_a_name_a_test_set() -> None:
    found = Comparison(
        label="L",
        differences=(
            difference(0.1),
            difference(0.2, test_set="longer"),
            difference(-0.25, second="SFT"),
        ),
    )
    (chart,) = forests("paired-0", found)
    known, longer = chart.figure["data"]
    assert chart.figure["layout"]["yaxis"]["ticktext"] == ["RLKD − GRPO", "RLKD − SFT"]  # noqa: RUF001
    assert (known["name"], known["x"]) == ("known", [10, -25])
    assert (longer["name"], longer["x"]) == ("longer", [20])
    # two names share a row's band of 0.7: a quarter of it above the middle, and below
    assert known["y"] == pytest.approx([-0.175, 0.825])
    assert longer["y"] == pytest.approx([0.175])
    assert known["error_x"]["array"] == pytest.approx([4, 4])
    assert known["error_x"]["arrayminus"] == pytest.approx([4, 4])
    assert known["marker"]["symbol"] != longer["marker"]["symbol"]
    assert chart.figure["layout"]["xaxis"]["zeroline"] is True


def test_the_numbers_stand_under_the_chart() -> None:
    points = Comparison(label="L", differences=(difference(0.1),))
    (chart,) = forests("paired-0", points)
    pair = "RLKD − GRPO"  # noqa: RUF001
    # 2.8 times a standard error of 2 points
    expected = (pair, "known", "+10.0", "+6.0 to +14.0", "5.6", "3", "2,000")
    assert chart.rows == [expected]
    assert dict(zip(chart.header, expected, strict=True))["least detectable"] == "5.6"
    (steps,) = forests("k", Comparison(label="L", differences=(difference(-0.1, "steps"),)))
    assert steps.rows == [(pair, "known", "-0.100", "-0.140 to -0.060", "0.056", "3", "2,000")]


def test_a_chart_is_as_high_as_its_rows_need() -> None:
    few = Comparison(label="L", differences=(difference(0.1),))
    many = Comparison(
        label="L", differences=tuple(difference(0.1, second=f"arm {n}") for n in range(40))
    )
    assert forests("k", few)[0].lanes == 0
    # 40 rows of 1.5 lanes, less the 9 for which there is room
    assert forests("k", many)[0].lanes == 51


def test_the_cost_of_each_arm_is_a_table(tmp_path: Path) -> None:
    table = cost_table(read_comparison(comparison(tmp_path, "L")))
    assert table is not None and [name for name, _ in table.rows] == ["SFT", "GRPO", "RLKD"]
    cells = [cell.text for cell in table.rows[0][1]]
    assert cells == ["200", "1,835", "12,800", "1,034,000", "1,034,000", "a note"]
    assert cost_table(Comparison(label="L", differences=(difference(0.1),))) is None


def test_the_page_shows_sentences_charts_and_costs(tmp_path: Path) -> None:
    folders = [comparison(tmp_path / name, "The study") for name in ("a", "b")]
    page = write_report(folders)[0].read_text("utf-8")
    for name in ("a", "b"):
        assert f">Paired differences: The study ({name})</h2>" in page
        assert f">Compute: The study ({name})</h2>" in page
    first = page.index("It shows how far the arms are apart")
    assert first < page.index("It does not show") < page.index('id="chart-paired-0-0"')
    assert 'id="chart-paired-1-1"' in page
    assert page.count('<figure class="wide">') == page.count("<details open>") == 4
    assert "comparison of The study" in page


def test_no_text_of_a_comparison_is_markup(tmp_path: Path) -> None:
    hostile = "<b onclick=x></script>"
    folder = comparison(tmp_path, hostile, lambda text: f"{hostile}{text}")
    page = write_report([folder])[0].read_text("utf-8")
    assert "<b onclick" not in page
    assert page.count("</script>") == 3  # the data, plotly, and page.js
