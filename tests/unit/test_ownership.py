"""Whose a result is: a file of somebody else's stays as it is, and another maker's is refused."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import FORMAT, Maker, differences, read_record, record_file
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.result_lines import Shape
from tests.support.row_lines import lines

SECOND = ".dropped.jsonl"
SHAPES: Mapping[str, Shape] = {"": {"n": int, "text": str}, SECOND: {"n": int, "why": str}}


def result(out: Path, facts: Any = None, **change: Any) -> Result:
    """A result of a job with two files."""
    given = {"command": "rlkd x", "maker": Maker("m", facts or {"model": "a"}), **change}
    return Result(out=out, shapes=SHAPES, may_mix=True, **given)


def write(out: Path, *numbers: int, facts: Any = None, mix: bool = False) -> None:
    """Run a job that writes a line for each number."""
    with own(result(out, facts), mix=mix) as owned, owned.open() as file:
        done = {row["n"] for row in file.rows()}
        for number in numbers:
            if number not in done:
                file.append({"n": number, "text": "t"})


def everything(folder: Path) -> dict[str, Any]:
    """All files of a folder with their contents and times."""
    return {
        f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.rglob("*") if f.is_file()
    }


FOREIGN = {
    "empty": b"",
    "one line of JSON without an end": b'{"precious": true}',
    "notes without an end": b"first line\nsecond line",
    "binary": b"\x89PNG\r\n\x1a\n\0\0",
    "rows of another tool": b'{"a": 1}\n{"a": 2}\n',
    "rows with our columns": b'{"n": 1, "text": "t"}\n{"n": 2, "te',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl" + SECOND])
@pytest.mark.parametrize("by_link", [False, True])
def test_a_foreign_file_stays_as_it_is(
    content: bytes, name: str, by_link: bool, tmp_path: Path
) -> None:
    place = tmp_path / name
    if by_link:
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "mine").write_bytes(content)
        place.symlink_to(tmp_path / "far" / "mine")
    else:
        place.write_bytes(content)
    before = everything(tmp_path)
    with pytest.raises(RlkdError, match=rf"{name} exists already, and no out\.jsonl\.rlkd\.json"):
        write(tmp_path / "out.jsonl", 1)
    assert everything(tmp_path) == before


def test_a_foreign_file_that_took_the_place_of_ours_stays_as_it_is(tmp_path: Path) -> None:
    """The record is still there, so only the content can tell."""
    out = tmp_path / "out.jsonl"
    write(out, 1)
    for content in (b'{"precious": true}', b"notes", b'{"a": 1}\n{"b', b"\n\nnotes\n"):
        out.write_bytes(content)
        with pytest.raises(
            RlkdError,
            match=r"out.jsonl:\d is not a line of this job|out.jsonl was changed after this job",
        ):
            write(out, 2)
        assert out.read_bytes() == content


@pytest.mark.parametrize("cut", [b"", b"{", b'{"n": 2, "te'])
def test_a_line_that_a_kill_cut_off_is_repaired_in_our_own_file(cut: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1)
    for whole in (out.read_bytes(), b""):
        out.write_bytes(whole + cut)
        write(out, 1, 2)
        assert [row["n"] for row in lines(out)] == [1, 2]


def test_another_command_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1)
    before = everything(tmp_path)
    with (
        pytest.raises(RlkdError, match=r"was made by `rlkd x`, not by `rlkd y`: name another"),
        own(result(out, command="rlkd y")),
    ):
        pass
    assert everything(tmp_path) == before


def test_a_job_may_go_on_with_what_it_made(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1, 2)
    write(out, 2, 3)
    assert lines(out) == [{"n": n, "text": "t"} for n in (1, 2, 3)]
    record = read_record(record_file(out))
    assert record is not None
    assert (record.command, record.format, record.is_mixed) == ("rlkd x", FORMAT, False)
    assert [*record.makers.values()] == [{"model": "a"}]


def test_another_maker_is_refused_with_both_named(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1, facts={"model": "a", "regex": False, "tokens": 5})
    before = everything(tmp_path)
    with pytest.raises(RlkdError) as error:
        write(out, 2, facts={"model": "b", "regex": True, "tokens": 5})
    assert "model: 'a' there, 'b' now; regex: False there, True now)" in str(error.value)
    assert "tokens" not in str(error.value) and "--mix" in str(error.value)
    assert everything(tmp_path) == before


def test_with_mix_each_line_names_its_maker(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1)
    write(out, 2, facts={"model": "b"}, mix=True)
    write(out, 3, facts={"model": "a"})  # both are known now
    write(out, 4, facts={"model": "c"}, mix=True)
    makers = [row["maker"] for row in lines(out)]
    assert [row["n"] for row in lines(out)] == [1, 2, 3, 4]
    assert makers[0] == makers[2] and len(set(makers)) == 3
    record = read_record(record_file(out))
    assert record is not None and record.is_mixed
    assert [record.makers[name] for name in dict.fromkeys(makers)] == [
        {"model": "a"},
        {"model": "b"},
        {"model": "c"},
    ]
    with pytest.raises(RlkdError, match="model: 'c' there, 'd' now"):
        write(out, 5, facts={"model": "d"})


def test_a_result_of_a_version_without_records_needs_mix(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text('{"n": 1, "text": "t"}\n{"n": 2, "te')
    with pytest.raises(RlkdError, match="if an older version of the plugin made it, --mix resumes"):
        write(out, 2)
    write(out, 1, 2, mix=True)
    assert [(row["n"], row["maker"] == "unknown") for row in lines(out)] == [(1, True), (2, False)]


@pytest.mark.parametrize("content", [b"", b'{"a": 1}\n', b"notes", b'{"n": 1, "text"', b"\n"])
def test_mix_does_not_take_a_file_of_another_kind(content: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(content)
    before = everything(tmp_path)
    with pytest.raises(RlkdError, match="name another file to write"):
        write(out, 1, mix=True)
    assert everything(tmp_path) == before


RECORDS = {
    "a list": "[]",
    "another tool's": '{"name": "x"}',
    "no maker": '{"command": "rlkd x", "makers": {}}',
    "no JSON": "notes",
    "wrong types": '{"command": 1, "makers": []}',
    "not UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("text", RECORDS.values(), ids=RECORDS)
def test_a_foreign_record_is_one_sentence(text: str | bytes, tmp_path: Path) -> None:
    place = record_file(tmp_path / "out.jsonl")
    place.write_bytes(text.encode() if isinstance(text, str) else text)
    before = everything(tmp_path)
    with pytest.raises(RlkdError, match="is not a record of a job of this plugin"):
        write(tmp_path / "out.jsonl", 1)
    assert everything(tmp_path) == before


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1)
    place = record_file(out)
    newer = json.loads(place.read_text()) | {"format": FORMAT + 1, "version": "9.9"}
    place.write_text(json.dumps(newer))
    with pytest.raises(RlkdError, match=r"by version 9.9 of the plugin, which is newer than this"):
        write(out, 2)


def test_a_job_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl")
    with pytest.raises(ZeroDivisionError), own(result(tmp_path / "out.jsonl")):
        raise ZeroDivisionError
    assert not everything(tmp_path)


def test_a_second_file_alone_is_kept_and_known(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with own(result(out)) as owned, owned.open() as _, owned.open(SECOND) as dropped:
        dropped.append({"n": 1, "why": "w"})
    assert not out.exists()
    with own(result(out)) as owned, owned.open(SECOND) as dropped:
        assert [row["n"] for row in dropped.rows()] == [1]
    with pytest.raises(RlkdError, match="model: 'a' there, 'b' now"):
        write(out, 2, facts={"model": "b"})


def test_a_result_that_is_in_work_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with own(result(out)), pytest.raises(RlkdError, match=r"another job writes .*out.jsonl; wait"):
        write(out, 1)
    write(out, 1)
    assert [row["n"] for row in lines(out)] == [1]


@pytest.mark.parametrize(
    "lose", [Path.unlink, lambda file: file.rename(file.parent / "elsewhere"), lambda f: replace(f)]
)
def test_a_file_that_goes_while_the_job_runs_is_noticed(
    lose: Callable[[Path], Any], tmp_path: Path
) -> None:
    file = tmp_path / "out.jsonl"
    (tmp_path / "b").mkdir()
    words = r"out.jsonl was removed, moved or replaced while the job ran, with the 1 rows"
    with pytest.raises(RlkdError, match=words), ResultFile(file) as results:
        results.append({"n": 1})
        lose(file)
        results.append({"n": 2})
    with pytest.raises(RlkdError, match=words), ResultFile(tmp_path / "b" / "out.jsonl") as results:
        results.append({"n": 1})
        lose(tmp_path / "b" / "out.jsonl")


def replace(file: Path) -> None:
    """Put another file in a file's place."""
    (file.parent / "other").write_text("mine\n")
    os.replace(file.parent / "other", file)


def test_what_somebody_else_appends_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    with pytest.raises(RlkdError, match="another program wrote to it"), ResultFile(file) as results:
        results.append({"n": 1})
        with file.open("a") as other:
            other.write("{}\n")


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ({"weights": "1", "served_from": "/a"}, {"weights": "1", "served_from": "/b"}, True),
        ({"weights": "1", "served_from": "/a"}, {"weights": "2", "served_from": "/a"}, False),
        ({"weights": None, "served_from": "/a"}, {"weights": "2", "served_from": "/a"}, True),
        ({"weights": None, "served_from": "/a"}, {"weights": "2", "served_from": "/b"}, False),
        ({"served_revision": None}, {"served_revision": "3"}, True),
        ({"revision": ""}, {"revision": "3"}, False),
        ({}, {"revision": "3"}, False),
        ({"body": ""}, {"body": "3"}, False),
    ],
)
def test_what_one_machine_does_not_know_is_no_difference(before: Any, now: Any, same: bool) -> None:
    assert (not differences(before, now)) == same
    assert (not differences(now, before)) == same


def test_a_file_is_not_changed_before_all_its_lines_are_ours(tmp_path: Path) -> None:
    """Notes behind a first line that is ours."""
    out = tmp_path / "out.jsonl"
    write(out, 1)
    for rest in (b"notes", b'notes\n{"n": 2, "te', b'{"n": "two", "text": "t"}\n{"n": 3'):
        out.write_bytes(b'{"n": 1, "text": "t"}\n' + rest)
        before = out.read_bytes()
        with pytest.raises(
            RlkdError, match=r"out\.jsonl.* (is not a line of|was changed after) this job"
        ):
            write(out, 4)
        assert out.read_bytes() == before


def test_a_whole_last_line_that_lacks_its_end_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1, 2)
    out.write_bytes(out.read_bytes()[:-1])
    write(out, 2, 3)
    assert [row["n"] for row in lines(out)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"n": null, "text": "t"}', "its n is None"),
        ('{"n": 2, "text": ["t"]}', r"its text is \['t'\]"),
        ('{"n": 2}', "it has no text"),
    ],
)
def test_a_line_with_another_type_is_none_of_the_job(line: str, fault: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, 1)
    with out.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RlkdError, match=rf"out\.jsonl:2 is not a line of this job: {fault}"):
        write(out, 3)


def test_a_record_learns_what_a_later_machine_knows(tmp_path: Path) -> None:
    """Else a retrained model could come in behind one whose weights were not known."""
    out = tmp_path / "out.jsonl"
    place = {"model": "g", "served_from": "/m"}
    write(out, 1, facts={**place, "weights": None})
    write(out, 2, facts={**place, "weights": "1"})
    write(out, 3, facts={**place, "weights": None})
    with pytest.raises(RlkdError, match="weights: '1' there, '2' now"):
        write(out, 4, facts={**place, "weights": "2"})
    assert [row["n"] for row in lines(out)] == [1, 2, 3]


def test_a_record_says_whether_its_job_came_to_an_end(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for is_done in (True, False):
        if is_done:
            write(out, 1)
        else:
            with pytest.raises(ZeroDivisionError), own(result(out)):
                raise ZeroDivisionError
        record = read_record(record_file(out))
        assert record is not None and record.is_done == is_done


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(RlkdError, match="is not the name of a file"):
        write(Path(""), 1)
