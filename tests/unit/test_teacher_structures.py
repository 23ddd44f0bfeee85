"""`rlkd structure`: the column, what is dropped, and that nothing is asked for twice."""

import asyncio
import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Decomposition, Usage
from rlkd_plugin.gsrm import EndpointError, RlkdError, Step, Structure, parse_structure
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_cli.tables.job_tables import show_structure
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, Shard
from rlkd_plugin.rlkd_data.teacher_structures import StructureReport, write_structures
from tests.support.row_lines import lines, write
from tools.stand_ins.hub_shapes import STRUCTURE


class Scripted:
    """An engine that gives each path one step, refuses some, and can fail."""

    name = "scripted"

    def __init__(self, fail_at: int = 0) -> None:
        self.facts: dict[str, Any] = {"engine": "scripted", "gsrm": "one", "revision": ""}
        self.usage = Usage()
        self.asked: list[tuple[str, str, str]] = []
        self.fail_at = fail_at
        self.words = ""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        self.asked.append((problem, domain, path))
        await asyncio.sleep(0)
        if len(self.asked) == self.fail_at:
            raise EndpointError("gone")
        if "refuse" in path:
            return Decomposition(None, "refused", reply=self.words)
        if "nothing" in path:
            return Decomposition(None, "undecomposable", reply="Once upon a time")
        clipped, cut = "clip" in path, "cut" in path
        return Decomposition(
            Structure((Step("plan", f"what of {path}", "it"),), "it"), clipped=clipped, cut=cut
        )


def row(number: int, path: str = "", **change: Any) -> dict[str, Any]:
    """A row in our own format."""
    return {
        "problem": f"What is {number}?",
        "domain": "math",
        "teacher_reasoning": path or f"It is {number}.",
        "answer": str(number),
        **change,
    }


def structures(
    source: Path, out: Path, engine: Any = None, cache: DiskCache | None = None
) -> StructureReport:
    """Run the job, a row at a time."""
    return structures_of(DataJob(source, out, concurrency=1), engine, cache)


def structures_of(
    job: DataJob, engine: Any = None, cache: DiskCache | None = None
) -> StructureReport:
    """Run a job."""
    report = StructureReport()
    asyncio.run(write_structures(job, engine or Scripted(), cache, report))
    return report


def test_every_row_has_its_structure_or_is_dropped(tmp_path: Path) -> None:
    source = write(
        tmp_path / "rows.jsonl",
        row(1, "<think>It is 1.</think> So 1."),
        row(2, "refuse me"),
        row(3, "nothing in it"),
        row(4, "..."),
        row(5, teacher_structure=f"Sure!\n{STRUCTURE}"),
        row(6, teacher_structure="broken"),
        row(7, teacher_reasoning=None, teacher_structure="broken"),
        row(8, answer=None),
        row(1, "<think>It is 1.</think> So 1."),
        "{broken",
    )
    engine = Scripted()
    report = structures(source, tmp_path / "out.jsonl", engine)
    written = {r["problem"]: r["teacher_structure"] for r in lines(tmp_path / "out.jsonl")}
    assert parse_structure(written["What is 1?"]).steps[0].sub_problem == "what of It is 1."
    assert written["What is 5?"] == STRUCTURE
    assert set(written) == {f"What is {n}?" for n in (1, 5, 6)}
    dropped = {r["problem"]: r["dropped"] for r in lines(tmp_path / "out.jsonl.dropped.jsonl")}
    assert dropped == {
        "What is 3?": "undecomposable",
        "What is 4?": "no reasoning",
        "What is 7?": "its structure cannot be read",
    }
    assert (report.worked, report.rejected, report.written, report.duplicates) == (6, 1, 3, 1)
    assert (report.steps, report.passed) == (3, 10)
    assert report.refused == {"answer is missing or not a text": 1, "broken JSON": 1}
    paths = [path for _, _, path in engine.asked]
    assert paths == ["It is 1.", "refuse me", "nothing in it", "It is 6."]


def test_a_stopped_job_asks_for_no_row_twice(tmp_path: Path) -> None:
    """The GSRM fails at the fourth row; a cut line of the result is done again."""
    paths = [f"It is {n}." if n != 2 else "nothing in it" for n in range(1, 9)]
    source = write(
        tmp_path / "rows.jsonl", *(row(n, path) for n, path in enumerate(paths, start=1))
    )
    out = tmp_path / "out.jsonl"
    with pytest.raises(EndpointError, match="gone"):
        structures(source, out, Scripted(fail_at=4))
    with out.open("ab") as file:
        file.write(b'{"problem": "cut')
    again = Scripted()
    report = structures(source, out, again)
    assert report.done_before == 3  # two written, one dropped
    assert [path for *_, path in again.asked] == paths[3:]
    assert [r["problem"] for r in lines(out)] == [f"What is {n}?" for n in (1, 3, 4, 5, 6, 7, 8)]
    assert structures(source, out, again).done_before == 8


def test_a_gsrm_that_refuses_every_row_ends_the_job_and_loses_none(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n, f"refuse me {n}") for n in range(20)))
    with pytest.raises(EndpointError, match="11 rows and accepted 0"):
        structures(source, tmp_path / "out.jsonl")
    assert {file.name for file in tmp_path.iterdir()} == {"rows.jsonl"}


def test_the_gsrms_words_about_a_rejected_path_are_the_errors(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n, f"refuse me {n}") for n in range(20)))
    engine = Scripted()
    engine.words = "HTTP 400: too long"
    with pytest.raises(EndpointError, match="Its last message: HTTP 400: too long"):
        structures(source, tmp_path / "out.jsonl", engine)


def test_a_structure_that_was_cut_is_neither_written_nor_cached(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "cut me"), row(2, "clip me"), row(3))
    cache = DiskCache(tmp_path / "cache", "a model")
    report = structures(source, tmp_path / "out.jsonl", cache=cache)
    assert [r["problem"] for r in lines(tmp_path / "out.jsonl")] == ["What is 2?", "What is 3?"]
    (dropped,) = lines(tmp_path / "out.jsonl.dropped.jsonl")
    reason = "structure cut at its token limit: raise RLKD_GSRM_MAX_TOKENS"
    assert (dropped["problem"], dropped["dropped"]) == ("What is 1?", reason)
    assert report.dropped == {reason: 1} and report.clipped == 1
    assert cache.count() == 2
    console = Console(file=StringIO(), width=200)
    show_structure(report, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"dropped: {reason}" in shown and "RLKD_GSRM_MAX_CHARS clipped" in shown


@pytest.mark.parametrize(
    ("path", "words"), [("nothing", "Once upon a time"), ("cut", "cut at its")]
)
def test_a_gsrm_that_gives_no_row_a_structure_ends_the_job(
    tmp_path: Path, path: str, words: str
) -> None:
    """After twenty rows; with one good row in ten it goes on."""
    source = write(tmp_path / "rows.jsonl", *(row(n, f"{path} {n}") for n in range(60)))
    with pytest.raises(EndpointError, match=rf"20 of 20 rows got no whole structure.*{words}"):
        structures(source, tmp_path / "out.jsonl")
    some = [row(n, f"{path} {n}" if n % 10 else f"good {n}") for n in range(60)]
    source = write(tmp_path / "some.jsonl", *some)
    assert structures(source, tmp_path / "some_out.jsonl").written == 6


def test_the_rewards_cache_is_read_and_filled(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1), row(2))
    cache = DiskCache(tmp_path / "cache", "a model")
    structures(source, tmp_path / "one.jsonl", cache=cache)
    assert cache.get("What is 1?", "math", "It is 1.") is not None
    engine = Scripted()
    report = structures(source, tmp_path / "two.jsonl", engine, cache=cache)
    assert (report.from_cache, engine.asked) == (2, [])
    assert lines(tmp_path / "one.jsonl") == lines(tmp_path / "two.jsonl")


def test_shards_are_all_rows_and_no_row_twice(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n) for n in range(40)))
    reports = [
        structures_of(DataJob(source, tmp_path / f"out{i}.jsonl", 4, Shard(i, 3)))
        for i in (1, 2, 3)
    ]
    assert sum(report.written for report in reports) == 40
    assert all(report.written > 3 for report in reports)
    problems = {r["problem"] for i in (1, 2, 3) for r in lines(tmp_path / f"out{i}.jsonl")}
    assert len(problems) == 40


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1))
    with pytest.raises(RlkdError, match="is the source itself"):
        structures(source, source)


def test_the_command_works_with_the_rules_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKD_ENGINE", "rules")
    path = "Ann has 2 + 3 = 5 pens.\nShe gives 1 away, so 5 - 1 = 4 are left."
    source = write(tmp_path / "rows.jsonl", row(4, path), row(5, "..."))
    arguments = ["structure", str(source), str(tmp_path / "out.jsonl")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.replace("│", " ").split())
    assert "1 written, 2 steps, 0 reused" in words and "1 dropped: no reasoning" in words
    (found,) = lines(tmp_path / "out.jsonl")
    assert [s.answer for s in parse_structure(found["teacher_structure"]).steps] == ["5", "4"]
    again = CliRunner().invoke(app, arguments)
    assert "2 done before" in " ".join(again.stdout.replace("│", " ").split())


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(shard: str, tmp_path: Path) -> None:
    arguments = ["structure", str(tmp_path), str(tmp_path / "o"), "--shard", shard]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert f"--shard {shard} is not a shard" in done.stderr


# --- what a row is, and what the end says ---


def test_rows_that_differ_by_anything_are_all_kept(tmp_path: Path) -> None:
    """A structure, a solution, a message or the path tells rows of one problem apart."""
    again = STRUCTURE.replace("Meta-reasoning 1]: ", "Meta-reasoning 1]: Now ")
    given = {"teacher_reasoning": None, "teacher_structure": STRUCTURE}
    rows = [
        row(1),
        row(1, answer="2"),
        row(1, messages=[{"role": "user", "content": "Say: what is 1?"}]),
        row(1, "Another path."),
        row(1, domain="science"),
        row(1, **given),
        row(1, **{**given, "teacher_structure": again}),
        row(1, teacher_structure=STRUCTURE),
        row(1, teacher_structure=again),
    ]
    source = write(tmp_path / "rows.jsonl", *rows, *rows)
    report = structures(source, tmp_path / "out.jsonl")
    assert (report.written, report.duplicates) == (9, 9)
    assert report.account.line() == "18 rows read = 9 written + 9 duplicates"
    report = structures(source, tmp_path / "out.jsonl")
    assert (report.written, report.done_before, report.duplicates) == (0, 9, 9)
    assert len(lines(tmp_path / "out.jsonl")) == 9 and not report.left_over


def test_a_row_whose_gold_was_corrected_is_another_row(tmp_path: Path) -> None:
    """The old one stays, and is said to be left over."""
    source = write(tmp_path / "rows.jsonl", row(1), row(2))
    structures(source, tmp_path / "out.jsonl")
    write(source, row(1, answer="7"), row(2))
    report = structures(source, tmp_path / "out.jsonl")
    assert (report.written, report.done_before, report.left_over) == (1, 1, 1)
    assert [r["solution"] for r in lines(tmp_path / "out.jsonl")] == [
        "\\boxed{1}",
        "\\boxed{2}",
        "\\boxed{7}",
    ]
    assert structures(source, tmp_path / "out.jsonl").done_before == 2


def test_a_row_without_a_structure_is_an_earlier_one_that_has_one(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, teacher_structure=STRUCTURE), row(1))
    for done in (0, 1):
        report = structures(source, tmp_path / "out.jsonl")
        assert (report.done_before, report.duplicates) == (done, 1)
    assert len(lines(tmp_path / "out.jsonl")) == 1


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"question": "x", "answer": "y"}],
        ["no JSON", "[1]"],
        [row(1, "nothing"), row(2, "nothing 2")],
        [row(1, "refuse me")],
    ],
)
def test_a_job_that_made_no_row_ends_with_1_and_leaves_no_out(
    rows: list[Any], tmp_path: Path
) -> None:
    source = write(tmp_path / "rows.jsonl", *rows)
    out = tmp_path / "out.jsonl"
    with pytest.raises(
        RlkdError, match=r"was not written, as it would have no row of .*|has no JSON object"
    ):
        structures(source, out)
    assert not out.exists()
    is_dropped = bool(rows) and "nothing" in str(rows[0])
    assert (tmp_path / "out.jsonl.dropped.jsonl").exists() == is_dropped
    assert (tmp_path / "out.jsonl.rlkd.json").exists() == is_dropped


def test_the_command_says_that_there_is_no_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKD_ENGINE", "rules")
    source = write(tmp_path / "rows.jsonl", {"question": "x"}, {"problem": "y", "answer": 1})
    done = CliRunner().invoke(app, ["structure", str(source), str(tmp_path / "out.jsonl")])
    assert done.exit_code == 1
    assert "written to" not in done.stdout and "2 rows read = 2 refused" in done.stdout
    assert "1 x problem is missing or not a text" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"rows.jsonl"}


def test_out_that_is_removed_while_the_job_runs_is_noticed(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n) for n in range(4)))
    out = tmp_path / "out.jsonl"

    class Removing(Scripted):
        async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
            if len(self.asked) == 2:
                out.unlink()
            return await super().decompose(problem, domain, path)

    with pytest.raises(RlkdError, match="was removed, moved or replaced while the job ran"):
        structures(source, out, Removing())
    report = structures(source, out)
    assert report.written == 4 and len(lines(out)) == 4


def test_a_second_file_that_is_a_source_is_left_alone(tmp_path: Path) -> None:
    """A source may have the name of the job's second file, with a last line without an end."""
    source = tmp_path / "out.jsonl.dropped.jsonl"
    source.write_text('{"problem": "mine", "teacher_reasoning": "1", "answer": "1"}')
    before = source.read_bytes()
    with pytest.raises(RlkdError, match=r"no out.jsonl.rlkd.json says that `rlkd structure`"):
        structures(source, tmp_path / "out.jsonl")
    assert source.read_bytes() == before


def test_rows_without_a_structure_are_no_result(tmp_path: Path) -> None:
    """A copy of the source at the place of OUT would make all rows done."""
    source, out = write(tmp_path / "rows.jsonl", row(1)), tmp_path / "out.jsonl"
    structures(source, out)
    (line,) = lines(out)
    write(out, {**line, "teacher_structure": None})
    with pytest.raises(RlkdError, match=r"out\.jsonl:1 is not a line of this job: its teacher"):
        structures(source, out)
    (tmp_path / "out.jsonl.rlkd.json").unlink()
    with pytest.raises(RlkdError, match=r"made it: name another file to write$"):
        structures(source, out)
    with pytest.raises(RlkdError, match="its teacher_structure is None"):
        structures_of(DataJob(source, out, mix=True))


def test_a_source_that_changes_while_rows_are_read_is_noticed(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n) for n in range(4)))

    class Changing(Scripted):
        async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
            write(source, row(1))
            return await super().decompose(problem, domain, path)

    with pytest.raises(RlkdError, match="was changed while the job ran"):
        structures(source, tmp_path / "out.jsonl", Changing())


def test_a_date_in_a_message_is_written_as_its_text(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2)
    message = {"role": "user", "content": "What is 1?", "when": when}
    table = pa.Table.from_pylist([{**row(1), "messages": [message]}])
    pq.write_table(table, tmp_path / "rows.parquet")
    out = tmp_path / "out.jsonl"
    assert structures(tmp_path / "rows.parquet", out).written == 1
    assert structures(tmp_path / "rows.parquet", out).done_before == 1
    assert lines(out)[0]["messages"][0]["when"] == str(when)


def branches(number: int, *paths: str, **change: Any) -> dict[str, Any]:
    """A row with branches."""
    return row(number, paths[0], teacher_branches=list(paths), **change)


def test_every_branch_has_its_structure(tmp_path: Path) -> None:
    source, out = (
        write(tmp_path / "in.jsonl", branches(1, "It is one.", "Count to one."), row(2)),
        tmp_path / "out.jsonl",
    )
    report = structures(source, out)
    one, two = sorted(lines(out), key=lambda line: line["problem"])
    assert [what_of(text) for text in one["teacher_structures"]] == ["It is one.", "Count to one."]
    assert one["teacher_structure"] == one["teacher_structures"][0]
    assert one["teacher_branches"] == ["It is one.", "Count to one."]
    assert "teacher_structures" not in two
    assert (report.written, report.branches_without) == (2, 0)


def test_a_branch_without_structure_is_null_and_the_first_that_has_one_is_the_teacher(
    tmp_path: Path,
) -> None:
    source, out = (
        write(tmp_path / "in.jsonl", branches(1, "nothing here", "cut here", "It is one.")),
        tmp_path / "out.jsonl",
    )
    report = structures(source, out)
    (one,) = lines(out)
    assert [text and what_of(text) for text in one["teacher_structures"]] == [
        None,
        None,
        "It is one.",
    ]
    assert one["teacher_structure"] == one["teacher_structures"][2]
    assert report.branches_without == 2


def test_a_row_is_dropped_where_no_branch_has_a_structure(tmp_path: Path) -> None:
    source, out = (
        write(tmp_path / "in.jsonl", branches(1, "nothing here", "nothing there"), row(2)),
        tmp_path / "out.jsonl",
    )
    report = structures(source, out)
    assert (report.written, dict(report.dropped)) == (1, {"undecomposable": 1})


def test_rows_with_branches_are_done_once_and_their_structures_used(tmp_path: Path) -> None:
    source, out = (
        write(
            tmp_path / "in.jsonl",
            branches(1, "nothing here", "It is one."),
            branches(2, "Two.", "1 + 1."),
        ),
        tmp_path / "out.jsonl",
    )
    structures(source, out)
    again = Scripted()
    structures(source, out, again)
    assert again.asked == []
    # the result as a source: what a branch has is not asked for, what it lacks is
    onward = Scripted()
    structures(out, tmp_path / "onward.jsonl", onward)
    assert [path for _, _, path in onward.asked] == ["nothing here"]


def what_of(structure: str) -> str:
    """The path that a scripted structure is of."""
    return parse_structure(structure).steps[0].sub_problem.removeprefix("what of ")
