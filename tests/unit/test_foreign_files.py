"""A file of another format is one sentence, before any work: what it is, and what to do."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data.rows.row_files import check_columns, count_rows, raw_rows, row_files

ROWS = [{"problem": f"{n}?", "answer": "5"} for n in range(30)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def zipped(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, LINES)
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        about = tarfile.TarInfo("rows.jsonl")
        about.size = len(LINES)
        archive.addfile(about, io.BytesIO(LINES))
    return content.getvalue()


def database(folder: Path) -> bytes:
    file = folder / "made.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("create table rows (problem text)")
    connection.commit()
    connection.close()
    return file.read_bytes()


def arrow(streamed: bool) -> bytes:
    made = pa.Table.from_pylist(ROWS)
    content = io.BytesIO()
    new = pa.ipc.new_stream if streamed else pa.ipc.new_file
    with new(content, made.schema) as writer:
        writer.write_table(made)
    return content.getvalue()


def parquet() -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), content)
    return content.getvalue()


def array() -> bytes:
    content = io.BytesIO()
    numpy.save(content, numpy.zeros(3))
    return content.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
PRETTY = json.dumps({"data": ROWS}, indent=2).encode()
LONG_PRETTY = json.dumps({"data": ROWS * 200}, indent=1).encode()
BY_ROW = b'{"data": [\n' + b",\n".join(LINES.splitlines()) + b"\n]}\n"

FOREIGN = [
    (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page, which a server sent"),
    (b"\n  <HTML lang=en>\n", "is an HTML page"),
    (b"\xef\xbb\xbf<!-- made -->\n<!doctype HTML>", "is an HTML page"),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "is XML"),
    (LFS, "is a Git LFS pointer; run `git lfs pull`"),
    (b"/annex/objects/SHA256E-s1--4d\n", "is a pointer of git-annex; run `git annex get`"),
    (zipped("rows.jsonl"), "is a zip archive or an .xlsx table; unpack it, or save"),
    (tarred(), "is a tar archive; unpack it first"),
    (bz2.compress(LINES), "is compressed by bzip2; unpack it first"),
    (bz2.compress(b""), "is compressed by bzip2"),
    (lzma.compress(LINES), "is compressed by xz; unpack it first"),
    (arrow(False), "is an Arrow file; save it as Parquet"),
    (arrow(True), "is an Arrow stream; save it as Parquet"),
    (array(), "is a NumPy array"),
    (pickle.dumps(ROWS), "is a pickle, which may run code when it is read; save its rows as"),
    (pickle.dumps(ROWS, protocol=2), "is a pickle"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99), "is a binary file; rows are read from JSON"),
    (b"\x7fELF\x02\x01\x01" + bytes(99), "is a binary file"),
    (bytes(1000), "is filled with zeros; fetch the file itself"),
    (bytes(100_000), "is filled with zeros"),
    (LINES.decode().encode("utf-16"), "is text in UTF-16 or UTF-32; save it as UTF-8"),
    (LINES.decode().encode("utf-16-le"), "is text in UTF-16; save it as UTF-8"),
    (LINES.decode().encode("utf-16-be"), "is text in UTF-16; save it as UTF-8"),
    (LINES.decode().encode("utf-32"), "is text in UTF-16 or UTF-32; save it as UTF-8"),
    (LINES.decode().replace("?", "多").encode("gbk"), "is not text in UTF-8 (byte "),
    (PRETTY, "is one JSON object over several lines, not rows; write one object a line, or an"),
    (LONG_PRETTY, "is one JSON object over several lines"),
    (BY_ROW, "is one JSON object over several lines"),
    (b"{\n}", "is one JSON object over several lines"),
    (b'{"a":\n 1}\n{"a":\n 2}\n', "is one JSON object over several lines"),
    (b'["a", "b"]', "is a JSON array whose first element is not an object"),
    (b"[1,\n2]", "is a JSON array whose first element is not an object"),
    (b'[["problem"], ["1?"]]', "is a JSON array whose first element is not an object"),
    (b"problem,answer\n1?,2\n3?,4\n", "looks like a table; name it .csv"),
    (b'problem,answer\n"1,\n2?",2\n3?,4\n', "looks like a table; name it .csv"),
    (b"problem\tanswer\n1, 2?\t2\n3?\t4\n", "looks like a table; name it .tsv"),
    (b"What is 1 + 1?\nIt is 2, of course.\n", "the first is 'What is 1 + 1?' (broken JSON: "),
    (b"{'problem': '1?'}\n" * 3, "the first is \"{'problem': '1?'}\" (broken JSON: Expecting"),
    (b'{"a": 1}{"a": 2}\n', "(broken JSON: Extra data, character 9)"),
    (b"1\n2\n3\n", "the first is '1' (no JSON object: 1)"),
    (b"- problem: 1?\n  answer: 2\n", "the first is '- problem: 1?'"),
    (b'{"problem": "cut o', 'the first is \'{"problem": "cut o\' (broken JSON: Unterminated'),
    (b"word " * 50_000, "has no JSON object in its first lines"),
]


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content", "says"), FOREIGN, ids=[says[:30] for _, says in FOREIGN])
def test_another_format_is_one_sentence(
    content: bytes, says: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """From each function, before the first row; also behind a file with rows."""
    good = tmp_path / "a.jsonl"
    good.write_bytes(LINES)
    file = tmp_path / "b.jsonl"
    file.write_bytes(pack(content))
    for begin in (
        lambda: row_files(file),
        lambda: row_files(tmp_path),
        lambda: check_columns(file, ()),
        lambda: next(raw_rows([good, file])),
        lambda: count_rows([file]),
    ):
        with pytest.raises(RlkdError) as caught:
            begin()
        said = str(caught.value)
        assert said.startswith(f"{file} ") and says in said
        assert "\n" not in said and len(said) < 400 + len(str(file))


def test_a_database_and_packed_files_in_packed_files(tmp_path: Path) -> None:
    for name, content, says in (
        ("a.jsonl", database(tmp_path), "is an SQLite database; write its table as CSV"),
        ("rows.tar.gz", gzip.compress(tarred()), "is a tar archive; unpack it first"),
        ("rows.gz", gzip.compress(gzip.compress(LINES)), "is compressed twice; unpack it first"),
        ("rows.gz", gzip.compress(parquet()), "is a compressed Parquet file; unpack it first"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(RlkdError) as caught:
            row_files(file)
        assert str(caught.value) == f"{file} {says}"


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz", "a.csv.GZ", "a.json.zst"])
def test_an_empty_file_of_a_format_that_begins_with_bytes_is_no_empty_source(
    name: str, tmp_path: Path
) -> None:
    """A download that failed, as a rule; an empty file of JSON lines has no rows."""
    (tmp_path / "b.jsonl").write_bytes(LINES)
    (tmp_path / "c.jsonl").write_bytes(b"")
    assert len(row_files(tmp_path)) == 2
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(RlkdError, match=rf"{name} is empty"):
        row_files(tmp_path)


LONG = json.dumps({"problem": "so " * 40_000}).encode()


@pytest.mark.parametrize(
    ("content", "good", "bad"),
    [
        (b'{"problem": "cut o\n' + LINES, 30, 1),
        (b'{"problem": 1,\n' + LINES, 30, 1),
        (b"[1, 2]\n" + LINES, 30, 1),
        (b"[]\n" + LINES, 30, 1),
        (b"[]x\n" + LINES, 30, 1),
        (b"no JSON\n" * 40 + LINES, 30, 40),
        (LINES + b"<html>", 30, 1),
        (LINES + b'{"problem": "cut o', 30, 1),
        ('{"a": "é"}\n'.encode("latin-1") + LINES, 30, 1),
        (b'{"a": "zero \0"}\n' + LINES, 30, 1),
        (b'{"data": [{"problem": "1?"}]}\n', 1, 0),
        (LONG + b"\n" + LONG, 2, 0),
        (b'{"cut": "\n' + LONG + b"\n" + LONG, 2, 1),
        (b"{}\n", 1, 0),
        (b"\n" * 100_000 + LINES, 30, 0),
        (b" " * 100_000 + LINES, 30, 0),
    ],
)
def test_json_lines_with_a_broken_line_stay_json_lines(
    content: bytes, good: int, bad: int, tmp_path: Path
) -> None:
    """The line is refused with its place."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert row_files(file) == [file]
    rows = [row for _, row in raw_rows([file])]
    assert sum(isinstance(row, FormatError) for row in rows) == bad
    assert len(rows) == good + bad


@pytest.mark.parametrize(
    "arguments",
    [["prepare", "jsonl", "IN", "OUT"], ["prepare", "gsm8k", "IN", "OUT"]],
)
@pytest.mark.parametrize("content", [LFS, PRETTY, zipped("x"), b"a,b\n1,2\n", b"<html></html>"])
def test_a_command_says_it_and_ends_with_1(
    arguments: list[str], content: bytes, tmp_path: Path
) -> None:
    """Nothing is written."""
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    file.write_bytes(content)
    places = {"IN": str(file), "OUT": str(out)}
    result = CliRunner().invoke(app, [places.get(word, word) for word in arguments])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"rlkd: {file} ") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
