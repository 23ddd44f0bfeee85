"""The shards of a job put together, as one job that did all would have written them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, Shard
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import Maker, read_record, record_file
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.merge import MergeReport, merge_results
from rlkd_plugin.rlkd_data.prepare import prepare
from rlkd_plugin.rlkd_data.teacher_structures import SHAPES, StructureReport, write_structures
from tests.support.row_lines import lines, write
from tests.unit.test_teacher_structures import Scripted, row

WHOLE = Shard()


def structured(source: Path, out: Path, shard: Shard = WHOLE, revision: str = "") -> Path:
    """Run `rlkd structure` on a shard, and return its OUT."""
    engine: Any = Scripted()
    engine.facts = {**engine.facts, "revision": revision}
    job = DataJob(source, out, shard=shard)
    asyncio.run(write_structures(job, engine, None, StructureReport()))
    return out


def merged(parts: list[Path], out: Path, mix: bool = False) -> MergeReport:
    report = MergeReport()
    merge_results(parts, out, report, mix=mix)
    return report


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve rows, of which every fourth has no structure."""
    paths = ["nothing" if n % 4 == 0 else "" for n in range(12)]
    return write(tmp_path / "rows.jsonl", *(row(n, path) for n, path in enumerate(paths)))


def content(out: Path) -> list[set[str]]:
    """The lines of a result's two files."""
    files = (out, out.with_name(out.name + ".dropped.jsonl"))
    return [{json.dumps(line, sort_keys=True) for line in lines(file)} for file in files]


def test_shards_are_what_one_job_writes(source: Path, tmp_path: Path) -> None:
    whole = structured(source, tmp_path / "whole.jsonl")
    parts = [structured(source, tmp_path / f"{n}.jsonl", Shard(n, 3)) for n in (1, 2, 3)]
    report = merged(parts, tmp_path / "out.jsonl")
    assert content(tmp_path / "out.jsonl") == content(whole)
    assert report.account.line() == (
        "12 rows read = 9 written to OUT + 3 written to OUT.dropped.jsonl"
    )
    # and the job goes on with it
    report = StructureReport()
    engine: Any = Scripted()
    job = DataJob(source, tmp_path / "out.jsonl")
    asyncio.run(write_structures(job, engine, None, report))
    assert report.done_before == 12 and not engine.asked


def test_a_row_of_two_parts_counts_once(source: Path, tmp_path: Path) -> None:
    parts = [structured(source, tmp_path / "1.jsonl"), structured(source, tmp_path / "2.jsonl")]
    report = merged(parts, tmp_path / "out.jsonl")
    assert content(tmp_path / "out.jsonl") == content(parts[0])
    assert report.duplicates == 12 and not report.account.in_work


def test_a_missing_shard_is_named(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [structured(source, tmp_path / f"{n}.jsonl", Shard(n, 3)) for n in (1, 3)]
    merged(parts, tmp_path / "out.jsonl")
    assert "not among the parts: shard 2/3" in caplog.text


def test_other_makers_are_refused_or_named_in_each_line(source: Path, tmp_path: Path) -> None:
    parts = [
        structured(source, tmp_path / f"{n}.jsonl", Shard(n, 2), revision=str(n)) for n in (1, 2)
    ]
    with pytest.raises(RlkdError, match=r"revision: '2' there, '1' now.*--mix"):
        merged(parts, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert not record_file(tmp_path / "out.jsonl").exists()
    merged(parts, tmp_path / "out.jsonl", mix=True)
    record = read_record(record_file(tmp_path / "out.jsonl"))
    assert record is not None and record.is_mixed
    by_maker = {row["problem"]: row["maker"] for row in lines(tmp_path / "out.jsonl")}
    for part, (label, facts) in zip(parts, record.makers.items(), strict=True):
        assert facts["revision"] == part.stem
        assert {by_maker[row["problem"]] for row in lines(part)} == {label}


def test_another_command_is_refused(source: Path, tmp_path: Path) -> None:
    one = structured(source, tmp_path / "1.jsonl")
    prepare("jsonl", source, tmp_path / "2.jsonl")
    with pytest.raises(RlkdError, match=r"by `rlkd prepare`, .*1.jsonl by `rlkd structure`"):
        merged([one, tmp_path / "2.jsonl"], tmp_path / "out.jsonl")
    other = Result("rlkd subset", tmp_path / "3", Maker("m", {}), {"": {"n": int}})
    with own(other) as owned, owned.open() as file:
        file.append({"n": 1})
    with pytest.raises(
        RlkdError, match="was made by `rlkd subset`; only results of `rlkd construct`"
    ):
        merged([tmp_path / "3"], tmp_path / "out.jsonl")


def test_what_cannot_be_a_part_is_refused(source: Path, tmp_path: Path) -> None:
    one = structured(source, tmp_path / "1.jsonl")
    with pytest.raises(RlkdError, match=r"there is no .*rows.jsonl.rlkd.json"):
        merged([one, source], tmp_path / "out.jsonl")
    with pytest.raises(RlkdError, match=r"there is no .*none.jsonl"):
        merged([one, tmp_path / "none.jsonl"], tmp_path / "out.jsonl")
    (tmp_path / "link.jsonl").symlink_to(one)
    record_file(tmp_path / "link.jsonl").symlink_to(record_file(one))
    with pytest.raises(RlkdError, match="are the same file; name each part once"):
        merged([one, tmp_path / "link.jsonl"], tmp_path / "out.jsonl")
    before = one.read_bytes()
    with pytest.raises(RlkdError, match="exists already: name another file to write"):
        merged([one], one)
    assert one.read_bytes() == before
    one.write_bytes(before[:-5])
    with pytest.raises(RlkdError, match=r"1.jsonl:\d+ is not a line of this job: broken JSON"):
        merged([one], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_part_that_is_in_work_is_refused(source: Path, tmp_path: Path) -> None:
    one = structured(source, tmp_path / "1.jsonl")
    facts = {"engine": "scripted", "gsrm": "one", "revision": ""}
    record = read_record(record_file(one))
    assert record is not None
    result = Result("rlkd structure", one, Maker("one", facts), SHAPES)
    with own(result), pytest.raises(RlkdError, match=r"another job writes .*1.jsonl"):
        merged([one], tmp_path / "out.jsonl")


def test_prepared_rows_are_merged_as_they_are(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1), row(1), row(2))
    for n in (1, 2):
        prepare("jsonl", source, tmp_path / f"{n}.jsonl")
    merged([tmp_path / "1.jsonl", tmp_path / "2.jsonl"], tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl") == 2 * lines(tmp_path / "1.jsonl")


def test_what_a_killed_merge_left_is_not_replaced(source: Path, tmp_path: Path) -> None:
    """The second file is there when the kill comes, OUT is not; it may be anything by then."""
    one = structured(source, tmp_path / "1.jsonl")
    out = tmp_path / "out.jsonl"
    merged([one], out)
    out.unlink()
    with pytest.raises(RlkdError, match=r"out\.jsonl\.dropped\.jsonl exists already"):
        merged([one], out)
    structured(source, out)
    assert content(out) == content(one)


def test_the_lines_of_mixed_parts_name_makers_that_the_record_has(
    source: Path, tmp_path: Path
) -> None:
    """One machine knows the weights of a model, another its place alone."""
    facts: list[dict[str, Any]] = [
        {"gsrm": "g", "weights": "1", "served_from": "/a"},
        {"gsrm": "h", "weights": "2", "served_from": "/a"},
        {"gsrm": "g", "weights": "1", "served_from": "/b"},
    ]
    for part, which in (("1", (0, 1)), ("2", (2, 1))):
        for number, one in enumerate(which):
            write(source, *(row(100 * int(part) + 10 * number + n) for n in range(2)))
            engine: Any = Scripted()
            engine.facts = {**engine.facts, **facts[one]}
            job = DataJob(source, tmp_path / f"{part}.jsonl", mix=bool(number))
            asyncio.run(write_structures(job, engine, None, StructureReport()))
    merged([tmp_path / "1.jsonl", tmp_path / "2.jsonl"], tmp_path / "out.jsonl", mix=True)
    record = read_record(record_file(tmp_path / "out.jsonl"))
    assert record is not None and len(record.makers) == 2
    found = lines(tmp_path / "out.jsonl")
    assert {line["maker"] for line in found} == {*record.makers} and len(found) == 8


def test_a_part_whose_job_was_stopped_is_named(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine: Any = Scripted(fail_at=4)
    job = DataJob(source, tmp_path / "1.jsonl", concurrency=1)
    with pytest.raises(EndpointError):
        asyncio.run(write_structures(job, engine, None, StructureReport()))
    merged([tmp_path / "1.jsonl"], tmp_path / "out.jsonl")
    assert "1.jsonl: its job is not finished" in caplog.text


def test_the_command_prints_the_account(source: Path, tmp_path: Path) -> None:
    parts = [str(structured(source, tmp_path / f"{n}.jsonl", Shard(n, 2))) for n in (1, 2)]
    done = CliRunner().invoke(app, ["merge", *parts, str(tmp_path / "out.jsonl")])
    assert done.exit_code == 0, done.output
    assert "12 rows read = 9 written to OUT + 3 written to OUT.dropped.jsonl" in done.stdout
    done = CliRunner().invoke(app, ["merge", *parts, str(tmp_path / "out.jsonl")])
    assert done.exit_code == 1 and "exists already" in done.stderr
