"""Which files of a folder are read, and that the others are named."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data import construct, row_subset, teacher_structures
from rlkd_plugin.rlkd_data.rows import source_folders
from rlkd_plugin.rlkd_data.rows.row_files import count_rows, raw_rows, row_files, unread_files
from tests.unit.test_row_formats import zstd


def line(number: int) -> bytes:
    return json.dumps({"n": str(number)}).encode() + b"\n"


def fill(folder: Path, *names: str) -> Path:
    """Write a row into each file, in its format."""
    for number, name in enumerate(names):
        low = name.lower()
        content = line(number)
        if ".csv" in low or ".tsv" in low:
            content = b"n\n%d\n" % number
        elif ".json" in low and ".jsonl" not in low:
            content = b"[" + line(number).strip() + b"]"
        if low.endswith(".gz"):
            content = gzip.compress(content)
        elif low.endswith((".zst", ".zstd")):
            content = zstd(content)
        (folder / name).write_bytes(content)
        if low.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([{"n": str(number)}]), folder / name)
    return folder


def names(folder: Path) -> list[str]:
    return [file.name for file in row_files(folder)]


def test_every_format_of_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    """In any letter case."""
    all_names = [
        *("a.jsonl", "b.JSONL", "c.jsonl.gz", "d.jsonl.zst", "e.Jsonl.ZSTD", "f.ndjson"),
        *("g.json", "h.json.gz", "i.csv", "j.CSV.GZ", "k.tsv", "l.tsv.zst", "m.parquet"),
        *("n.PARQUET", "o.ndjson.gz"),
    ]
    fill(tmp_path, *all_names)
    assert names(tmp_path) == all_names
    assert unread_files(tmp_path) == []
    rows = [row for _, row in raw_rows(row_files(tmp_path))]
    assert rows == [{"n": str(number)} for number in range(len(all_names))]
    assert count_rows(row_files(tmp_path)) == len(all_names)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    """But for hidden files and a result's record."""
    fill(tmp_path, "a.jsonl", "b.json")
    (tmp_path / "README.md").write_text("rows")
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "data").mkdir()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".a.jsonl.part").write_text("half")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nothing")
    (tmp_path / "a.jsonl.rlkd.json").write_text('{"command": "prepare"}')
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "dataset_infos.json").write_text(json.dumps({"default": {"x": 1}}, indent=2))
    (tmp_path / "long.json").write_text(json.dumps({"a": "x" * 100_000}) + "\n\n")
    (tmp_path / "long_pretty.json").write_text(json.dumps({"a": [1] * 100_000}, indent=1))
    (tmp_path / "names.json").write_text('["a", "b"]')
    assert names(tmp_path) == ["a.jsonl", "b.json"]
    assert unread_files(tmp_path) == [
        "LICENSE (not a row file, by its suffix)",
        "README.md (not a row file, by its suffix)",
        "config.json (one JSON object)",
        "data (a folder)",
        "dataset_infos.json (one JSON object over several lines)",
        "folder.jsonl (a folder)",
        "gone.jsonl (a broken link)",
        "long.json (one JSON object)",
        "long_pretty.json (one JSON object over several lines)",
        "names.json (a JSON array whose first element is not an object)",
    ]


def test_json_of_rows_is_no_object_alone(tmp_path: Path) -> None:
    """Two lines are rows, an array of one is, and nothing is none."""
    (tmp_path / "lines.json").write_bytes(line(1) + line(2))
    (tmp_path / "long.json").write_bytes(json.dumps({"a": "x" * 100_000}).encode() * 1 + b"\n{}\n")
    (tmp_path / "one.json").write_text("[{}]")
    (tmp_path / "zero.json").write_text("")
    assert names(tmp_path) == ["lines.json", "long.json", "one.json", "zero.json"]
    assert count_rows(row_files(tmp_path)) == 5


def test_names_of_a_split_leave_out_the_others(tmp_path: Path) -> None:
    """In any letter case, and each of the others is named."""
    fill(tmp_path, "Train-1.csv", "train-0.parquet", "train.jsonl.gz", "test.jsonl", "a.json")
    (tmp_path / "README.md").write_text("rows")
    assert names(tmp_path) == ["Train-1.csv", "train-0.parquet", "train.jsonl.gz"]
    other = "(of another split, as names begin with train)"
    assert unread_files(tmp_path) == [
        "README.md (not a row file, by its suffix)",
        f"a.json {other}",
        f"test.jsonl {other}",
    ]


def test_a_train_file_that_is_not_read_names_no_split(tmp_path: Path) -> None:
    fill(tmp_path, "test.jsonl")
    (tmp_path / "train.txt").write_text("rows")
    (tmp_path / "train_config.json").write_text("{}")
    assert names(tmp_path) == ["test.jsonl"]


def test_second_files_of_our_jobs_are_no_source(tmp_path: Path) -> None:
    """A name alone makes no second file: its first one is there, or would be a row file."""
    fill(
        tmp_path,
        *(
            "out.jsonl",
            "out.jsonl.dropped.jsonl",
            "x.discarded.jsonl",
            "y.jsonl.similarities.jsonl",
        ),
        *("rows", "rows.discarded.jsonl"),
    )
    assert names(tmp_path) == ["out.jsonl", "x.discarded.jsonl"]
    assert unread_files(tmp_path) == [
        "out.jsonl.dropped.jsonl (a job's second file)",
        "rows (not a row file, by its suffix)",
        "rows.discarded.jsonl (a job's second file)",
        "y.jsonl.similarities.jsonl (a job's second file)",
    ]
    named = tmp_path / "out.jsonl.dropped.jsonl"
    assert row_files(named) == [named]  # who names it wants it


def test_a_file_as_a_source_leaves_nothing_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl", "b.jsonl")
    assert unread_files(tmp_path / "a.jsonl") == []
    assert unread_files(tmp_path / "none") == []


def test_a_folder_without_a_row_file_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"has no row file \(.*\); name the folder that has them$"):
        row_files(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        RlkdError, match=r"this one has config.json \(one JSON object\), data \(a folder"
    ):
        row_files(tmp_path)


def test_a_pointer_in_place_of_a_folders_json_is_no_unread_file(tmp_path: Path) -> None:
    """Its rows are missing."""
    fill(tmp_path, "a.jsonl")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n"
    (tmp_path / "b.json").write_text(pointer)
    with pytest.raises(RlkdError, match=r"b\.json is a Git LFS pointer"):
        row_files(tmp_path)


def test_the_second_files_of_all_jobs_are_known() -> None:
    endings = {construct.DISCARDED, row_subset.SIMILARITIES, teacher_structures.DROPPED}
    assert {f".{name}.jsonl" for name in source_folders.SECOND_FILES} == endings
