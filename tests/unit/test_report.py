"""`rlkd report`: reading, sampling, charts and escaping; the page itself runs in another file."""

import html
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from typer.testing import CliRunner

from rlkd_plugin.engines.trace import parse_row
from rlkd_plugin.engines.walk_end import walk_end
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.report import trace_sample
from rlkd_plugin.rlkd_eval.report.alignment import alignment
from rlkd_plugin.rlkd_eval.report.charts import bar_chart, line_chart
from rlkd_plugin.rlkd_eval.report.curves import LONGEST, Line, label
from rlkd_plugin.rlkd_eval.report.eval_figures import held_out, over_steps
from rlkd_plugin.rlkd_eval.report.page import Input, Page, Section, render
from rlkd_plugin.rlkd_eval.report.report import write_report
from rlkd_plugin.rlkd_eval.report.reward_figures import reward_table, share_charts
from rlkd_plugin.rlkd_eval.report.sources import Source, read_sources
from rlkd_plugin.rlkd_eval.report.tables import Cell, table_1
from rlkd_plugin.rlkd_eval.report.templates import environment
from rlkd_plugin.rlkd_eval.report.trace_sample import TraceSample, sample_traces
from rlkd_plugin.rlkd_eval.report.walk_ends import disagreement, explain
from rlkd_plugin.rlkd_eval.results import DIVERSITY, EVALUATION, read_evaluation
from tests.support.completion_tables import table, write_tables
from tests.support.report_folders import (
    diversity,
    evaluation,
    grpo_run,
    log_entry,
    own_evaluation,
    structured_run,
    trace_line,
    write_lines,
)

AXES = ("step", "reward")
STEP = "global_step/max_steps"


def row(**changed: object):
    """A line of a trace as it is read."""
    found = parse_row(json.dumps(trace_line(**changed)).encode())
    assert found is not None
    return found


def side(status: str = "ok", steps: int = 0) -> dict[str, object]:
    return {"status": status, "steps": [["M", "Q", "A"]] * steps, "final_answer": ""}


def read(folder: Path) -> Source:
    (source,) = read_sources([folder])
    return source


def data_of(page: str) -> dict[str, object]:
    """The data of the page's script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


# --- why a walk ended


@pytest.mark.parametrize(
    ("changed", "why", "said"),
    [
        ({}, "meta_reasoning", "the meta-reasoning of step 2 did not match"),
        (
            {"teacher": side(steps=1), "student": side(steps=2), "step_scores": [1.0]},
            "teacher_end",
            "ended; 1 compared, the student has 2, the teacher 1",
        ),
        (
            {"teacher": side(steps=2), "student": side(steps=1), "step_scores": [0.5]},
            "student_end",
            "the student's steps ended",
        ),
        ({"student": side("undecomposable")}, "undecomposable", "the student's text has no struc"),
        ({"student": side("refused")}, "refused", "the GSRM rejected the student's text"),
        ({"teacher": side("refused")}, "no_teacher", "its status is refused"),
        ({"step_scores": []}, "unclear", "not known from the trace line"),
    ],
)
def test_why_a_walk_ended(changed: dict[str, object], why: str, said: str) -> None:
    assert walk_end(row(**changed)) == why
    assert said in explain(row(**changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"teacher": side(steps=1), "step_scores": [1.0]},
            "1 compared, the student has at least 1, the teacher 1; the GSRM was stopped before",
        ),
        # a break: there are no more
        ({"teacher": side(steps=3), "step_scores": [1.0]}, "the student has 1, the teacher 3; the"),
        ({"teacher": side(steps=3), "step_scores": [1.0, 0.0]}, "step 2 did not match; the GSRM"),
        ({"teacher": side("refused"), "step_scores": []}, "get no reward; the GSRM was stopped"),
    ],
)
def test_a_student_that_was_stopped_early_is_said_to_be(
    changed: dict[str, object], said: str
) -> None:
    student = side(steps=1) | {"stopped_early": True, "unfinished": ["m"]}
    assert said in explain(row(student=student, **changed))


def test_what_else_decided_the_reward_is_said() -> None:
    assert "cut off at the length limit; so that its reward is 0" in explain(
        row(cut_off=True, reward=0.0)
    )
    assert "reward is 0" not in explain(row(cut_off=True))
    refused = [{"number": 2, "field": "meta_reasoning", "matched": False, "source": "refused"}]
    assert "the judge rejected the meta-reasoning of step 2" in explain(row(verdicts=refused))
    assert "the teacher's text was too long" in explain(
        row(teacher=side(steps=3) | {"clipped": True})
    )
    assert "the student's structure was cut at the GSRM's token limit" in explain(
        row(student=side(steps=3) | {"cut": True})
    )


def test_a_reply_that_is_no_structure_is_shown_by_its_beginning() -> None:
    said = explain(row(student=side("undecomposable") | {"reply": "I cannot " + "x" * 300}))
    assert "in place of the student's structure the GSRM wrote: I cannot x" in said
    assert said.endswith("x…") and len(said) < 350
    assert "the GSRM wrote" not in explain(row(student=side("undecomposable")))


def test_a_line_that_algorithm_1_does_not_give_is_told() -> None:
    assert disagreement(row()) == ""
    assert disagreement(row(total=2.0)) == "Algorithm 1 gives 0.5, the trace says 2"
    assert "instead of" in disagreement(row(verdicts=[]))


def test_lines_of_other_versions_are_read() -> None:
    newer = row(version=9, unknown={"a": [1]}, teacher=side(steps=1) | {"more": 1})
    assert newer.version == 9
    older = trace_line()
    for name in ("version", "prompt_id", "request_id", "cut_off", "step"):
        del older[name]
    found = parse_row(json.dumps(older).encode())
    assert found is not None and found.step is None and not found.cut_off


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"teacher": 1, "student": 2}',
        b"\xff\xfe",
        b"\x00",
        json.dumps(trace_line(step="1")).encode(),
        json.dumps(trace_line())[:-40].encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_no_line_of_a_trace_is_none(line: bytes) -> None:
    assert parse_row(line) is None


# --- sampling


def test_a_small_trace_is_kept_whole() -> None:
    sample = TraceSample()
    for number in range(32):
        sample.add(row(step=number // 8), 100)
    assert [(step, len(rows)) for step, rows in sample.steps()] == [(i, 8) for i in range(4)]
    assert sample.remarks() == []


def test_a_large_trace_is_sampled_by_completion_then_by_step() -> None:
    sample = TraceSample(most_rows=50)
    line = row()
    for step in range(100):
        for _ in range(64):
            sample.add(parse_row(json.dumps(trace_line(step)).encode()) or line, 100)
    # 100 steps x 4 are too many, so every 8th step (13 of them) is left; 13 x 4 = 52 is still
    # too many, so every 16th: 0, 16 ... 96
    assert [step for step, _ in sample.steps()] == [*range(0, 100, 16)]
    assert {len(rows) for _, rows in sample.steps()} == {4}
    assert sample.rows == sum(len(rows) for _, rows in sample.steps()) == 28
    assert sample.seen.total() == sum(sample.endings.values()) == 6400
    assert sample.remarks() == [
        "the alignment view shows 28 of 6,400 completions, at most 4 of every 16th step, drawn at "
        "random; the counts are of all"
    ]


def test_a_steps_sample_is_drawn_evenly() -> None:
    hits: Counter[int] = Counter()
    rows = [row(step=0, prompt_id=number) for number in range(64)]
    for seed in range(400):
        sample = TraceSample(a_step=16, draw=random.Random(seed))
        for one in rows:
            sample.add(one, 1)
        hits.update(
            int(kept.prompt_id or 0) for _, kept_rows in sample.steps() for kept in kept_rows
        )
    # each of 64 is kept with 16 / 64; 400 draws: mean 100, standard deviation 8.7
    assert 60 < min(hits.values()) <= max(hits.values()) < 140


def test_long_texts_are_bounded_by_their_bytes() -> None:
    sample = TraceSample(most_bytes=1000)
    for step in range(50):
        sample.add(row(step=step), 400)
    assert [step for step, _ in sample.steps()] == [0, 32]  # every 32nd step: 800 bytes
    alone = TraceSample(most_bytes=10)
    for _ in range(5):
        alone.add(row(step=None), 400)
    assert alone.rows == 1


def test_broken_lines_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_sample, "LONGEST", 4000)
    whole = json.dumps(trace_line())
    long = json.dumps(trace_line(problem="x" * 20_000))
    trace = tmp_path / "rlkd_trace_rank0.jsonl"
    trace.write_text("\n".join([whole, "", whole[:100], long, whole, "NaN", whole[:50]]))
    sample = sample_traces([trace])
    assert (sample.rows, sample.unreadable) == (2, 4)
    assert sample.remarks() == ["unreadable lines of the traces, skipped: 4"]


def test_newer_lines_are_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "t", [trace_line(version=2), trace_line()])
    assert (
        "of a newer version than this report's, 1: 1; their"
        in sample_traces([tmp_path / "t"]).remarks()[0]
    )


# --- folders


def test_a_run_is_read(tmp_path: Path) -> None:
    source = read(grpo_run(tmp_path / "run", steps=4))
    assert (source.name, len(source.steps), source.progress) == ("run", 4, "ended at step 4 of 4")
    assert source.health["rlkd/requests"] == [(i, 640.0 + i) for i in range(1, 5)]
    assert source.traces is not None and source.traces.rows == 32
    assert source.remarks == ()


def test_a_run_that_is_still_going_is_told(tmp_path: Path) -> None:
    half = json.dumps(log_entry(3, 9))[:50]
    write_lines(tmp_path / "logging.jsonl", [log_entry(1, 9), log_entry(2, 9), half])
    (tmp_path / "rlkd_trace_rank0.jsonl").touch()
    source = read(tmp_path)
    assert source.progress == (
        "at step 2 of 9, 1m 27s left by its own estimate: still running, or stopped before its end"
    )
    assert source.remarks == ("not whole JSON, skipped: line 3", "an empty trace")


def test_a_run_that_was_resumed_is_not_at_its_end(tmp_path: Path) -> None:
    end = {"train_runtime": 1.0, STEP: "2/9"}
    write_lines(tmp_path / "logging.jsonl", [log_entry(1, 9), log_entry(2, 9), end, {"memory": 0}])
    assert read(tmp_path).progress == "ended at step 2 of 9"
    write_lines(tmp_path / "logging.jsonl", [log_entry(2, 9), end, log_entry(3, 9)])
    assert read(tmp_path).progress.startswith("at step 3 of 9")


def test_the_newest_run_of_an_output_dir_is_read_with_what_stands_beside_it(tmp_path: Path) -> None:
    grpo_run(tmp_path / "out" / "v0-20260101-100000")
    grpo_run(tmp_path / "out" / "v10-20260101-120000")
    evaluation(tmp_path / "out", "E")
    sources = read_sources([tmp_path / "out", tmp_path / "out" / "v10-20260101-120000"])
    assert [source.name for source in sources] == ["out", "out/v10-20260101-120000"]
    assert [bool(source.evaluation) for source in sources] == [True, False]


def test_a_folder_of_a_runs_models_is_read_in_the_order_of_steps(tmp_path: Path) -> None:
    """As `--snapshots` leaves it; the page stands beside them, and names no step alone."""
    out = tmp_path / "eval"
    for step in (100, 20):
        evaluation(out / f"checkpoint-{step}", "A", step)
    (out / "checkpoint-40").mkdir()  # begun
    page, _ = write_report([diversity(tmp_path / "d" / "checkpoint-20", "A").parent, out])
    assert page == tmp_path / "d" / "report.html"
    names = [source.name for source in read_sources([out, tmp_path / "d"])]
    assert names == ["eval/checkpoint-20", "eval/checkpoint-100", "d/checkpoint-20"]
    assert write_report([out / "checkpoint-20"])[0] == out / "checkpoint-20" / "report.html"


def test_equal_names_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [grpo_run(tmp_path / one / "run") for one in "ab"]
    assert [s.name for s in read_sources([*folders, folders[0]])] == ["a/run", "b/run"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("logging.jsonl", "{\n[1]\nxx", "the logging.jsonl has no step of a run with a reward"),
        ("logging.jsonl", '{"reward": 1}\n', "no step of a run"),
        (EVALUATION, '{"label": "x"}', "eval.json is not readable: Object missing required field"),
        (EVALUATION, '{"label": "x", "sets": {"a": 1}}', "`$.sets[...]`"),
        (DIVERSITY, '{"label": ', "diversity.json is not readable: Input data was truncated"),
        (DIVERSITY, "[" * 100_000, "diversity.json is not readable"),
        ("other.txt", "", "there is no logging.jsonl, no trace, no eval.json, no diversity"),
    ],
)
def test_a_broken_folder_is_a_remark_beside_others(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / name).write_text(text)
    _, remarks = write_report([tmp_path / "bad", grpo_run(tmp_path / "run")], tmp_path / "r.html")
    assert said in " ".join(remarks)
    assert said.partition("`")[0] in (tmp_path / "r.html").read_text("utf-8")
    with pytest.raises(RlkdError, match="there is nothing to report"):
        read_sources([tmp_path / "bad", tmp_path / "none"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[" * 100_000, "not whole JSON, skipped: line 1"),
        (f'{{"reward": {10**400}, "{STEP}": "1/2"}}', "the log has no reward"),
    ],
)
def test_a_log_beyond_measure_is_a_remark(tmp_path: Path, line: str, says: str) -> None:
    write_lines(tmp_path / "bad" / "logging.jsonl", [line])
    bad, _ = read_sources([tmp_path / "bad", grpo_run(tmp_path / "run")])
    assert bad.remarks[0] == says


def test_a_file_that_cannot_be_opened_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / "bad" / "rlkd_trace_rank0.jsonl").mkdir(parents=True)
    bad, _ = read_sources([tmp_path / "bad", grpo_run(tmp_path / "run")])
    assert "Is a directory" in bad.remarks[0]


# --- charts and tables


def test_a_curve_has_its_own_colour_dash_and_marker() -> None:
    lines = [Line(str(number), [(1, 0.5), (2, 0.7)]) for number in range(6)]
    traces = line_chart("key", "Title", AXES, lines).figure["data"]
    for part in (("line", "color"), ("line", "dash"), ("marker", "symbol")):
        assert len({trace[part[0]][part[1]] for trace in traces}) == 6


def test_a_long_curve_stands_pale_behind_its_mean() -> None:
    chart = line_chart("key", "Title", AXES, [Line("a", [(i, i % 2) for i in range(40)])])
    pale, bold = chart.figure["data"]
    assert (pale["opacity"], pale["showlegend"]) == (0.35, False)
    assert bold["y"][-1] == 0.5  # the mean of 10 steps, 0 and 1 in turn
    assert chart.note == "bold: mean of 10 steps"


def test_a_curve_breaks_where_it_has_no_value() -> None:
    line = Line("a", [(i, None if i < 20 else 1.0) for i in range(40)])
    (trace,) = line_chart("key", "Title", AXES, [line]).figure["data"]
    assert trace["y"][:2] == [None, None]


def test_the_numbers_of_a_chart_are_a_table() -> None:
    lines = [Line("a", [(1, 0.5), (2, 0.25)]), Line("b", [(2, 1.0)])]
    chart = line_chart("key", "Title", AXES, lines, percent=True)
    assert chart.header == ("step", "a", "b")
    assert chart.rows == [("1", "50.0%", "–"), ("2", "25.0%", "100.0%")]  # noqa: RUF001
    long = line_chart("key", "Title", AXES, [Line("a", [(i, 0.0) for i in range(5000)])])
    assert len(long.rows) == 200 and "the table has 200 of 5000 rows" in long.note
    assert max(len(trace["x"]) for trace in long.figure["data"]) == 2000


def test_bars_are_shares_that_differ_in_pattern() -> None:
    chart = bar_chart("key", "Title", AXES, ["1", "2"], {"a": [1, 0], "b": [3, 0]})
    a, b = chart.figure["data"]
    assert (a["y"], b["y"]) == ([0.25, 0], [0.75, 0])
    assert a["marker"]["pattern"]["shape"] != b["marker"]["pattern"]["shape"]
    assert chart.rows == [("1", "1", "3"), ("2", "0", "0")]


def test_a_label_is_no_markup_and_not_too_long() -> None:
    assert label("<b>&\u202e\n") == "&lt;b&gt;&amp;\ufffd\ufffd"
    assert len(label("x" * 100)) == LONGEST


def test_table_1_marks_the_best_of_a_column(tmp_path: Path) -> None:
    found = [
        read_evaluation(evaluation(tmp_path / one, one, base=base))
        for one, base in (("A", 0.5), ("B", 0.6))
    ]
    table = table_1(found)
    assert table is not None
    assert table.header[:3] == ("model", "AIME24 pass@1", "AIME24 pass@4")
    # A: 0.5 * 0.6, B: 0.6 * 0.6
    assert [cells[0] for _, cells in table.rows] == [Cell("30.0"), Cell("36.0", best=True)]
    alone = table_1(found[:1])
    assert alone is not None and not alone.rows[0][1][0].best
    assert table_1([]) is None


def test_other_settings_are_told_under_table_1(tmp_path: Path) -> None:
    found = [read_evaluation(evaluation(tmp_path / f"{t}", "A", temperature=t)) for t in (0.6, 1.0)]
    table = table_1(found)
    assert table is not None and table.note.endswith("; different temperature: 0.6, 1.0")


def test_checkpoints_of_a_run_make_a_line(tmp_path: Path) -> None:
    found = [read_evaluation(evaluation(tmp_path / f"{step}", "A", step)) for step in (20, 10)]
    aime, _ = over_steps([*found, read_evaluation(evaluation(tmp_path, "B"))])
    (trace,) = aime.figure["data"]
    assert (trace["name"], trace["x"]) == ("A", [10, 20])
    assert trace["error_y"]["array"] == [pytest.approx(0.04)] * 2


def test_structures_on_held_out_problems_make_lines_from_step_0_on(tmp_path: Path) -> None:
    found = [read_evaluation(own_evaluation(tmp_path / f"{s}", "A", s)) for s in (40, 0)]
    charts = held_out([*found, read_evaluation(evaluation(tmp_path, "B", 5))])
    assert [chart.title for chart in charts] == [
        f"{what}: {name} orders"
        for what in ("Structure reward", "Matched depth", "More steps than the teacher")
        for name in ("known", "longer")
    ]
    reward, _, depth, _, beyond, _ = charts
    (trace,) = reward.figure["data"]
    # pass@1 is 0.3 at the start and 0.1 more after 40 steps; the reward is three times as much
    assert (trace["name"], trace["x"]) == ("A", [0, 40])
    assert trace["y"] == pytest.approx([0.9, 1.2])
    assert trace["error_y"]["array"] == pytest.approx([0.1, 0.1])
    assert depth.rows[0] == ("0", "1.2 (1.1 to 1.3)")
    assert beyond.rows[0] == ("0", "10.0% (5.0% to 15.0%)")
    assert held_out([read_evaluation(tmp_path)]) == []


# --- the page


def test_the_page_has_what_the_folders_hold(tmp_path: Path) -> None:
    folders = [
        grpo_run(tmp_path / "a"),
        grpo_run(tmp_path / "b"),
        structured_run(tmp_path / "c"),
        evaluation(tmp_path / "d", "D", 10),
        evaluation(tmp_path / "e", "D", 20),
        diversity(tmp_path / "f", "F"),
    ]
    page = write_report(folders, tmp_path / "r.html")[0].read_text("utf-8")
    for heading in (
        "Training",
        "Health",
        "GSRM training",
        "Evaluation",
        "Over training steps",
        "Diversity",
        "Why comparisons ended",
        "Alignment",
    ):
        assert f">{heading}</h2>" in page
    assert "D, step 20" in page
    charts = data_of(page)["charts"]
    assert {"run-accuracy", "run-reward", "run-structure", "run-depth"} <= charts.keys()
    assert [trace["name"] for trace in charts["run-reward"]["data"]] == ["a", "b"]
    assert "Zero in every step: rejected by the GSRM or the judge" in page


def test_test_sets_of_ones_own_are_in_the_page_with_their_start(tmp_path: Path) -> None:
    for step in (0, 40):
        own_evaluation(tmp_path / f"checkpoint-{step}", "A", step)
    page = write_report([tmp_path])[0].read_text("utf-8")
    assert "known orders pass@8" in page
    assert "A, step 40" in page and "A, step 0" not in page  # the table is of last checkpoints
    assert "Figure 3, on held-out problems" in page
    charts = data_of(page)["charts"]
    assert list(charts["over-steps-0"]["data"][0]["x"]) == [0, 40]
    assert {"pass-at-k-1", "held-out-structure-0", "held-out-beyond-1"} <= charts.keys()
    plain = write_report([evaluation(tmp_path / "e", "E", 5)])[0].read_text("utf-8")
    assert "Figure 3, on held-out problems" not in plain


def test_the_page_names_no_other_place(tmp_path: Path) -> None:
    page = write_report([grpo_run(tmp_path / "run")])[0].read_text("utf-8")
    assert "default-src 'none'; script-src 'sha256-" in html.unescape(page.partition("<style>")[0])
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"https?:|<link|@import|src=", markup) == []


def test_every_value_in_a_template_is_escaped_and_printable() -> None:
    """None needs a filter for it, and a misspelt name is an error."""
    text = environment().from_string("<p title='{{ x }}'>{{ x }}{{ 3 }}</p>").render(x="<b>\u202e'")
    assert text == "<p title='&lt;b&gt;\ufffd&#39;'>&lt;b&gt;\ufffd&#39;3</p>"
    with pytest.raises(UndefinedError):
        environment().from_string("{{ y }}").render(x="")


def test_a_long_remark_and_a_long_note_are_clipped() -> None:
    chart = bar_chart("key", "Title", AXES, ["1"], {"a": [1]}, note="n" * 2_500)
    inputs = [Input("run", "/run", "", ["r" * 400, "s" * 1_400])]
    page = render(Page("Title", "", inputs, [Section("one", "One", "", charts=[chart])]))
    assert f"<li>{'r' * 400}</li>" in page
    assert f"<li>{'s' * 400} … (1,000 characters more)</li>" in page
    assert f'<p class="note">{"n" * 1000} … (1,500 characters more)</p>' in page


def test_an_empty_section_and_an_empty_alignment_are_skipped() -> None:
    sections = [Section("none", "None", "about"), Section("one", "One", "", notes=["a note"])]
    page = render(Page("Title", "", [], sections))
    markup = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert re.findall(r'href="#(\w+)"', markup) == ["content", "inputs", "one"]
    assert re.findall(r'<h2 id="(\w+)"', markup) == ["inputs", "one"]
    assert page.count("</script>") == 3  # the data, plotly, and page.js


def test_texts_end_no_script_and_make_no_markup(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>\u2028&amp;$data"
    run = grpo_run(tmp_path / "<b onclick=x>", say=lambda text: hostile + text)
    page = write_report([run, evaluation(tmp_path / "e", hostile)])[0].read_text("utf-8")
    assert page.count("</script>") == 4  # the data, plotly, and our two
    assert "<script>alert" not in page and "<b onclick" not in page and "\u2028" not in page
    first = data_of(page)["alignment"][0]["steps"][0]["rows"][0]
    assert first["prompt"] == f"{hostile}prompt_0"  # and comes out as it was


def test_the_alignment_counts_steps_as_the_log_does(tmp_path: Path) -> None:
    (run,) = alignment([read(grpo_run(tmp_path / "run", steps=3))])
    assert [(step["label"], step["of"]) for step in run["steps"]] == [("1", 8), ("2", 8), ("3", 8)]


def test_the_command_writes_into_the_first_folder(tmp_path: Path) -> None:
    run = grpo_run(tmp_path / "run" / "v0-20260101-100000")
    result = CliRunner().invoke(app, ["report", str(tmp_path / "run"), str(tmp_path / "none")])
    assert result.exit_code == 0
    assert result.stdout == f"note: none: there is no such folder\nwritten to {run}/report.html\n"
    assert (run / "report.html").stat().st_size > 4_000_000
    result = CliRunner().invoke(app, ["report", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert result.stderr.startswith("rlkd: there is nothing to report: ")


def test_cut_structures_and_clipped_teachers_are_charts_of_health(tmp_path: Path) -> None:
    """A log of before has none of these keys, and gets neither a chart nor a sentence."""
    shares = {"rlkd/cut_structure": 0.25, "rlkd/clipped_teacher": 0.5, "rlkd/cut_teacher": 0.0}
    write_lines(tmp_path / "new" / "logging.jsonl", [log_entry(i, 4) | shares for i in range(1, 5)])
    write_lines(tmp_path / "old" / "logging.jsonl", [log_entry(i, 4) for i in range(1, 5)])
    page = write_report([tmp_path / "new"])[0].read_text("utf-8")
    charts = data_of(page)["charts"]
    assert list(charts["health-cut_structure"]["data"][0]["y"]) == [0.25] * 4
    assert list(charts["health-clipped_teacher"]["data"][0]["y"]) == [0.5] * 4
    axes = charts["health-clipped_teacher"]["layout"]["yaxis"]["title"]["text"]
    assert axes == "share of teachers"
    zero = "; teachers&#39; structures cut at the GSRM&#39;s token limit"
    assert "health-cut_teacher" not in charts and zero in page
    page = write_report([tmp_path / "old"])[0].read_text("utf-8")
    assert not {"health-cut_structure", "health-clipped_teacher"} & data_of(page)["charts"].keys()
    assert zero not in page


def test_the_off_policy_measure_is_a_chart_or_a_sentence_of_health(tmp_path: Path) -> None:
    """Measured with weights that did not arrive; zero in each step where they did."""
    key = "rollout_correction/k3_kl"
    values = [0.0, 1.72e-6, 7.6e-6, 1.51e-5]
    stale = [log_entry(i, 4) | {key: value} for i, value in enumerate(values, start=1)]
    write_lines(tmp_path / "stale" / "logging.jsonl", stale)
    write_lines(tmp_path / "fresh" / "logging.jsonl", [entry | {key: 0.0} for entry in stale])
    page = write_report([tmp_path / "stale"])[0].read_text("utf-8")
    chart = data_of(page)["charts"]["health-k3_kl"]
    assert list(chart["data"][0]["y"]) == values
    assert chart["layout"]["yaxis"]["title"]["text"] == "nats a token"
    assert "<td>1.72e-06</td>" in page
    page = write_report([tmp_path / "fresh"])[0].read_text("utf-8")
    assert "health-k3_kl" not in data_of(page)["charts"]
    assert "distance of the rollouts&#39; policy from the student (k3_kl)" in page
    # without rlkd_metrics the log has no numbers of the reward's, whatever ms-swift logs
    bare = [{k: v for k, v in entry.items() if "rlkd/" not in k} for entry in stale]
    write_lines(tmp_path / "bare" / "logging.jsonl", bare)
    assert "No rlkd/* metrics in the log of bare" in write_report([tmp_path / "bare"])[0].read_text(
        "utf-8"
    )


def rewarded_run(folder: Path) -> Path:
    """Write a run of two rewards and three steps: the structure decides, and some are cut off."""
    rewards = {"MathAccuracy": [0.0, 0.0, 1.0, 1.0], "RlkdGsrm": [0.0, 1.0, 2.0, 4.0]}
    both = {"rewards/RlkdGsrm/mean": 1.75}
    write_lines(folder / "logging.jsonl", [log_entry(step, 3) | both for step in (1, 2, 3)])
    write_tables(folder, [table(step, rewards, 2) for step in (1, 2, 3)], 2)
    lines = [
        trace_line(step, reward=reward, cut_off=reward == 4)
        for step in range(3)
        for reward in rewards["RlkdGsrm"]
    ]
    write_lines(folder / "rlkd_trace_rank0.jsonl", lines)
    return folder


def test_a_runs_rewards_are_a_section_of_the_page(tmp_path: Path) -> None:
    runs = [rewarded_run(tmp_path / "two"), grpo_run(tmp_path / "one")]
    (shares,) = share_charts(read_sources(runs))
    assert shares.title == "Which reward steers: two"
    assert [list(trace["y"]) for trace in shares.figure["data"]] == [[0.0] * 3, [1.0] * 3]
    assert shares.rows[0] == ("1", "0.0%", "100.0%")
    rewards = reward_table(read_sources(runs[:1]))
    assert rewards is not None
    # whole: accuracies 0, 0, 1 and rewards 0, 1, 2 in each of 3 steps; cut off: 1 and 4
    assert [(name, [cell.text for cell in cells]) for name, cells in rewards.rows] == [
        ("two: MathAccuracy", ["1", "0.0%", "9", "0.333", "3", "1.000"]),
        ("two: RlkdGsrm", ["1", "100.0%", "9", "1.000", "3", "4.000"]),
    ]
    page, remarks = write_report(runs, tmp_path / "r.html")
    assert not any("reward steers" in remark for remark in remarks)
    assert ">Where the reward comes from</h2>" in page.read_text("utf-8")


def test_a_run_that_does_not_tell_of_its_rewards_says_why(tmp_path: Path) -> None:
    run = rewarded_run(tmp_path / "run")
    (run / "completions.jsonl").unlink()
    source = read(run)
    assert source.remarks[-1].startswith("which reward steers is not known: there is no completi")
    assert share_charts([source]) == []
    rewards = reward_table([source])
    assert rewards is not None
    # the traces know their own reward
    ((name, cells),) = rewards.rows
    assert name == "run: structure reward"
    assert [cell.text for cell in cells] == ["–", "–", "9", "1.000", "3", "4.000"]  # noqa: RUF001
    assert reward_table([Source("none", tmp_path)]) is None


def test_going_on_behind_the_teacher_is_a_chart_of_health(tmp_path: Path) -> None:
    rows = [log_entry(i, 2) | {"rlkd/beyond_teacher": 0.25 * i} for i in (1, 2)]
    write_lines(tmp_path / "logging.jsonl", rows)
    chart = data_of(write_report([tmp_path])[0].read_text("utf-8"))["charts"][
        "health-beyond_teacher"
    ]
    assert list(chart["data"][0]["y"]) == [0.25, 0.5]
    assert chart["layout"]["yaxis"]["title"]["text"] == "share of completions"
