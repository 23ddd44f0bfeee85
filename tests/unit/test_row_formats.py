"""Rows of every format: the same values, places and faults as of a JSON line with the same row."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows import json_rows, row_types
from rlkd_plugin.rlkd_data.rows.row_files import check_columns, count_rows, raw_rows, row_files
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

ROWS = [{"problem": f"What is {n}?", "answer": n, "path": "so " * n} for n in range(50)]
TEXTS = [{name: str(value) for name, value in row.items()} for row in ROWS]


def zstd(content: bytes) -> bytes:
    """One frame with a checksum, as the `zstd` program writes it."""
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def plain(content: bytes) -> bytes:
    return content


PACKERS = pytest.mark.parametrize("pack", [plain, gzip.compress, zstd])


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, str]], mark: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def read(file: Path) -> list[Any]:
    """Return the rows, each fault as its text."""
    return [str(row) if isinstance(row, FormatError) else row for _, row in raw_rows([file])]


@PACKERS
@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("rows.jsonl", lines(ROWS), ROWS),
        ("rows.json", json.dumps(ROWS).encode(), ROWS),
        ("rows", json.dumps(ROWS, indent=2).encode(), ROWS),
        ("rows.jsonl", b"\xef\xbb\xbf \n" + json.dumps(ROWS, indent="\t").encode() + b"\n ", ROWS),
        ("one a line.json", b"[\n" + b",\n".join(lines(ROWS).splitlines()) + b"\n]\n", ROWS),
        ("rows.csv", table(TEXTS), TEXTS),
        ("rows.CSV", b"\xef\xbb\xbf" + table(TEXTS).replace(b"\r\n", b"\n"), TEXTS),
        ("rows.tsv", table(TEXTS, "\t"), TEXTS),
        ("really lines.csv", lines(ROWS), ROWS),
        (
            "an object in a cell.csv",
            b'a\n"so\n{""b"": 1}\n{}\nso"\n{}\n',
            [{"a": 'so\n{"b": 1}\n{}\nso'}, {"a": "{}"}],
        ),
        ("a long line.csv", b'{"a": "' + b"so" * 50_000 + b'"}\n{}', [{"a": "so" * 50_000}, {}]),
        ("really an array.csv", json.dumps(ROWS).encode(), ROWS),
        ("no row.json", b" [ ] \n", []),
        ("no row.jsonl", b" \n\n", []),
        ("nothing.json", b"", []),
    ],
)
def test_a_format_is_told_by_its_bytes(
    name: str, content: bytes, rows: list[Any], pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """And tables by their names; compressed or not."""
    file = write(tmp_path, name, pack(content))
    assert row_files(file) == [file]
    assert read(file) == rows
    blank = content.count(b"\n") if name == "no row.jsonl" else 0  # no line is looked at
    assert count_rows([file]) == len(rows) + blank


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".zstd", ""])
@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_table_is_known_before_its_compressions_suffix(
    pack: Callable[[bytes], bytes], suffix: str, tmp_path: Path
) -> None:
    """Whichever that is: the bytes tell the compression."""
    file = write(tmp_path, f"rows.csv{suffix}", pack(table(TEXTS)))
    assert read(file) == TEXTS


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_members_and_frames_are_one_content(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """As `cat a.gz b.gz`, pigz and pzstd leave them; a line may go on in the next one."""
    content = lines(ROWS)
    packed = pack(content[:777]) + pack(b"") + pack(content[777:])
    if pack is zstd:
        packed = b"\x50\x2a\x4d\x18\x04\0\0\0size" + packed
    else:
        packed += b"\0" * 512  # the padding of a tape
    assert read(write(tmp_path, "rows", packed)) == ROWS


def test_a_long_file_is_read_whole(tmp_path: Path) -> None:
    """Beyond every buffer, in each format; rows of 1 MB among short ones."""
    rows = [
        {"problem": str(n), "path": "so\n" * (350_000 if n % 10 == 3 else n)} for n in range(40)
    ]
    for name, content in (
        ("rows.jsonl.gz", gzip.compress(lines(rows), 1)),
        ("rows.jsonl.zst", zstd(lines(rows))),
        ("rows.json", json.dumps(rows).encode()),
        ("rows.json.gz", gzip.compress(json.dumps(rows, indent=1).encode(), 1)),
        ("rows.csv", table(rows)),
        ("rows.csv.zst", zstd(table(rows))),
    ):
        assert read(write(tmp_path, name, content)) == rows, name


VALUES = [
    r'"\ud83d"',
    r'"\ude00\ud83d"',
    r'"\ud83d\ude00 \u0000 \\ \" \/ \n"',
    r'"\\\\"',
    r'"\\\""',
    r'"]}, {\"a\": ["',
    '"多少 \u2028 \x7f"',
    "NaN",
    "-Infinity",
    "1e400",
    "1E5",
    "0.1",
    "-0",
    "-0.0",
    "12345678901234567890123456789",
    "0.1000000000000000055511151231257827",
    "9" * 4301,
    "[" * 50 + "]" * 50,
    "[" * 200_000 + "]" * 200_000,
    '{"b": {"b": [{}]}}',
    '1, "a": 2',
    "tru",
    "'one'",
    '"a\tb"',
    "1 2",
    "",
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:20])
def test_a_row_of_an_array_has_the_values_of_a_line(value: str, tmp_path: Path) -> None:
    """Or its fault; the rows beside it are whole."""
    row = f'{{"a": {value}}}'.encode()
    in_lines = read(write(tmp_path, "rows.jsonl", b'{"n": 1}\n' + row + b'\n{"n": 2}\n'))
    in_array = read(write(tmp_path, "rows.json", b'[{"n": 1},' + row + b' ,\r\n\t{"n": 2}]'))
    assert len(in_lines) == 3
    assert repr(in_array) == repr(in_lines)  # NaN is not equal to itself, nor 1 unequal to 1.0


def test_bytes_that_are_no_utf_8_are_the_fault_of_their_row(tmp_path: Path) -> None:
    content = b'[{"n": 1}, {"n": "caf\xe9"}, {"n": 3}]'
    file = write(tmp_path, "rows.json", content)
    assert read(file) == [{"n": 1}, "not UTF-8: byte 11 of the line", {"n": 3}]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"2, [3]", ["no JSON object: 2", "no JSON object: [3]"]),
        (b'"]", null', ["no JSON object: ']'", "no JSON object: None"]),
        (b'{"a": 2} {"a": 3}', ["broken JSON: Extra data, character 10"]),
        (b"", ["broken JSON: Expecting value, character 1"]),
        (b'{"a": [2}]', ["broken JSON: Expecting ',' delimiter, character 9"]),
    ],
)
def test_a_broken_row_of_an_array_is_refused_alone(
    content: bytes, rows: list[str], tmp_path: Path
) -> None:
    """And counted, as a broken line among good ones is."""
    file = write(tmp_path, "rows.json", b'[{"n": 1}, ' + content + b', {"n": 2}]')
    assert read(file) == [{"n": 1}, *rows, {"n": 2}]
    last = write(tmp_path, "last.json", b'[{"n": 1}, ' + content + b"]")
    assert read(last) == [{"n": 1}, *rows]
    assert count_rows([file, last]) == 2 * len(rows) + 3


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    rows=st.lists(st.dictionaries(st.text(), JSON_VALUES), max_size=5),
    block=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_any_array_is_split_into_its_rows(
    rows: list[dict[str, Any]], block: int, indent: int | None, ascii_only: bool
) -> None:
    """Wherever blocks of the file end: between a backslash and a quote, inside a character."""
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    content = io.BytesIO(text.encode("utf-8", "surrogatepass"))

    class Slow:
        def readline(self, size: int, /) -> bytes:
            raise NotImplementedError

        def read1(self, size: int, /) -> bytes:
            return content.read(block)

    got = [
        json.loads(one.decode("utf-8", "surrogatepass")) for one in json_rows.split_array(Slow())
    ]
    assert got == rows


CUT = [
    ("rows.jsonl.gz", lambda rows: gzip.compress(lines(rows))),
    ("rows.jsonl.zst", lambda rows: zstd(lines(rows))),
    ("rows.csv.gz", lambda rows: gzip.compress(table(rows))),
    ("rows.csv.zst", lambda rows: zstd(table(rows))),
    ("rows.json.gz", lambda rows: gzip.compress(json.dumps(rows).encode())),
    ("rows.json.zst", lambda rows: zstd(json.dumps(rows).encode())),
    ("rows.json", lambda rows: json.dumps(rows).encode()),
]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, "checksum", "last byte"])
@pytest.mark.parametrize(("name", "make"), CUT, ids=[name for name, _ in CUT])
def test_a_file_that_ends_too_early_is_an_error_and_no_end(
    name: str, make: Callable[[list[Any]], bytes], part: float | str, tmp_path: Path
) -> None:
    """Every row before the error is one of the file, whole and in its order."""
    rows = [{"n": str(n), "path": f"{n * 7919 % 10007} so " * 60} for n in range(2000)]
    content = make(rows)
    size = len(content) - (4 if part == "checksum" else 1 if part == "last byte" else 0)
    file = write(tmp_path, name, content[: size if isinstance(part, str) else int(size * part)])
    got = []
    with pytest.raises(RlkdError, match="cannot be read after row") as caught:
        for _, row in raw_rows([file]):
            got.append(row)
    assert got == rows[: len(got)]
    assert f"{file} cannot be read after row {len(got)}: " in str(caught.value)
    assert str(caught.value).endswith("; fetch it again")
    with pytest.raises(RlkdError):
        count_rows([file])


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("size", [4, 5, 8, 12, 20])
def test_the_first_bytes_of_a_compressed_file_are_no_empty_file(
    pack: Callable[[bytes], bytes], size: int, tmp_path: Path
) -> None:
    file = write(tmp_path, "rows.jsonl", pack(lines(ROWS))[:size])
    with pytest.raises(RlkdError, match="cannot be read after row 0"):
        row_files(file)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_changed_bytes_of_a_compressed_file_are_an_error(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    packed = bytearray(pack(lines(ROWS)))
    packed[len(packed) // 2] ^= 0x55
    file = write(tmp_path, "rows.jsonl", bytes(packed))
    with pytest.raises(RlkdError, match="cannot be read after row"):
        list(raw_rows([file]))
    garbage = write(tmp_path, "garbage.jsonl", pack(lines(ROWS)) + b"{}")
    with pytest.raises(RlkdError, match="cannot be read after row"):
        list(raw_rows([garbage]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b'[{"a": 1}][{"a": 2}]',
            r"after row 1: the JSON array ends there, and '\[\{\"a\": 2\}\]'",
        ),
        (b'[{"a": 1}]\n[{"a": 2}]\n', "after row 1: the JSON array ends there"),
        (b'[{"a": 1}]' + b" " * 300_000 + b"x", "after row 1: .* 'x' follows"),
        (b'[{"a": 1}] {"a": 2}', "after row 1: the JSON array ends there"),
        (b'[{"a": 1},', "after row 1: the JSON array does not end"),
        (b'[{"a": 1}', "after row 0: the JSON array does not end"),
        (b"[", "after row 0: the JSON array does not end"),
        (b'[{"a": 1}, {"a": "2}]', "after row 1: the JSON array does not end"),
        (b'[{"a": 1}, {"a": 2]}', "after row 2: a '}' closes the JSON array"),
        (b'[{"a": 1}}', "after row 1: a '}' closes the JSON array"),
    ],
)
def test_an_array_ends_once(content: bytes, says: str, tmp_path: Path) -> None:
    file = write(tmp_path, "rows.json", content)
    with pytest.raises(RlkdError, match=says):
        list(raw_rows([file]))


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.csv", "rows.jsonl.gz", "lines.csv.zst", "lines.csv"]
)
def test_a_row_that_never_ends_does_not_fill_the_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of all the rest of a file, as a missing quote makes it."""
    from rlkd_plugin.rlkd_data.rows import csv_rows

    for module in (row_types, json_rows, csv_rows):
        monkeypatch.setattr(module, "MAX_ROW", 1 << 20)
    monkeypatch.setattr(csv_rows, "MAX_CELL", 1 << 20)
    begin = {"json": b'[{"n": 1}, {"n": "', "jsonl": b'{"n": 1}\n{"n": "'}
    rest = b"so\n" if "lines" in name else b"so "
    content = begin.get(name.split(".")[1], b'n\n1\n"') + rest * 4_000_000
    packed = gzip.compress(content, 1) if ".gz" in name else zstd(content)
    file = write(tmp_path, name, packed if name.count(".") == 2 else content)
    del content, packed
    tracemalloc.start()
    with pytest.raises(RlkdError, match=r"cannot be read after row 1: .*over 1 MiB"):
        list(raw_rows([file]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20  # of 12 MB; a cell has four bytes a character


CELLS = {"problem": 'Say "a, b"\nand\r\nc', "path": "so,\t\n" * 200_000, "answer": "5"}


@pytest.mark.parametrize(("name", "mark"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_a_cell_holds_any_text(name: str, mark: str, tmp_path: Path) -> None:
    """Line ends, separators, quotes, 1 MB; a place is the line where its row begins."""
    rows = [CELLS, {"problem": "", "path": " 多 ", "answer": "0.10"}]
    file = write(tmp_path, name, table(rows, mark))
    assert [row for _, row in raw_rows([file])] == rows
    # the first row has the lines 2 to 4 with its first cell, and 200,000 with its second
    assert [place for place, _ in raw_rows([file])] == [f"{file}:2", f"{file}:200005"]
    assert count_rows([file]) == 2


def test_a_row_with_another_number_of_cells_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "rows.csv", b"a,b\n1,2\n3\n\n4,5,6\n   \n7,8\n,\n")
    assert next(raw_rows([file])) == (f"{file}:2", {"a": "1", "b": "2"})
    assert read(file)[1:] == [
        "another number of cells than the header has: 1, not 2",
        "another number of cells than the header has: 3, not 2",
        {"a": "7", "b": "8"},
        {"a": "", "b": ""},
    ]
    assert count_rows([file]) == 5


def test_a_table_of_one_column_has_empty_rows(tmp_path: Path) -> None:
    """A cell of white space is one; a line without a character is none."""
    file = write(tmp_path, "rows.csv", b'problem\na\n""\n \n\nb\n')
    assert [row["problem"] for row in read(file)] == ["a", "", " ", "b"]


def test_a_row_of_a_table_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "rows.csv", 'a,b\n1,é\n2,"é\n'.encode() + b'caf\xe9"\n3,c\n')
    assert read(file) == [
        {"a": "1", "b": "é"},
        "not UTF-8: byte 4 of the line",
        {"a": "3", "b": "c"},
    ]


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b'2,"He said "hi" to\nAnn",5\n', "line 3: text follows a quoted cell"),
        (b'2,"cut in a ce', "line 3: a quoted cell does not end; fetch the file again"),
        (b'2,"a",\n\n3,"', "line 5: a quoted cell does not end"),
        (b"2,a\rb,c\n", "line 3: it ends with a carriage return alone"),
    ],
)
def test_a_wrong_quote_ends_a_table(rest: bytes, says: str, tmp_path: Path) -> None:
    """`Ann",5` would be a row that nobody wrote."""
    file = write(tmp_path, "rows.csv", b"a,b\n1,x\n" + rest)
    got = []
    with pytest.raises(RlkdError, match="cannot be read after row") as caught:
        got.extend(raw_rows([file]))
    assert says in str(caught.value)
    first = next(raw_rows([file]))
    assert first == (f"{file}:2", {"a": "1", "b": "x"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "is empty; the first row must have the names"),
        ("t.csv", b"\n \n", "is empty; the first row must have the names"),
        (
            "t.csv",
            b"a;b\n1;2\n",
            "has one column, 'a;b'; if semicolons separate its cells, save",
        ),
        ("t.csv", b"a\tb\n1\t2\n", "if tabs separate its cells, name it .tsv"),
        ("t.tsv", b"a,b\n1,2\n", "if commas separate its cells, name it .csv"),
        ("t.csv", b"sep=;\na;b\n", "if semicolons separate its cells, save it with commas"),
        ("t.csv", b"a,b,a,c,b\n", "has columns of the same name: a, b; rename them"),
        ("t.csv", b"a, a\n", "has columns of the same name: a"),
        ("t.csv", b"a,,\n", "has columns of the same name: (no name)"),
        (
            "t.csv",
            "题,答\n多,少\n".encode("gbk"),
            "is not text in UTF-8 (byte 1 of a line is 0xcc)",
        ),
        ("t.csv", "a,b\n1,x\n多,少\n".encode("gbk"), "is not text in UTF-8"),
        ("t.csv", "a,b\n多,少\n".encode("utf-16"), "is text in UTF-16"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "is text in UTF-16; save it as UTF-8"),
        ("t.csv", b'"a,b\n1,2\n', "has an unreadable header: line 1: a quoted cell does not"),
        ("t.csv", b'"a" x,b\n1,2\n', "has an unreadable header: line 1: text follows"),
        ("t.csv", b"<!DOCTYPE html>\n<html>", "is an HTML page"),
        ("t.csv", b"PK\x03\x04....", "is a zip archive or an .xlsx table"),
    ],
)
@PACKERS
def test_a_table_without_a_sound_header_is_one_sentence(
    name: str, content: bytes, says: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Before any row; from each of the functions."""
    file = write(tmp_path, name, pack(content) if content else content)
    for begin in (
        lambda: row_files(file),
        lambda: check_columns(file, ("a",)),
        lambda: next(raw_rows([file])),
        lambda: count_rows([file]),
    ):
        with pytest.raises(RlkdError) as caught:
            begin()
        assert str(caught.value).startswith(f"{file} ") and says in str(caught.value)
        assert "\n" not in str(caught.value)


@PACKERS
def test_the_columns_of_a_table_are_looked_at(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """As those of Parquet are; white space around a name is none of it."""
    file = write(tmp_path, "rows.csv", pack(b",problem, answer\n0,1+1?,2\n"))
    check_columns(file, ("problem", "answer"))
    with pytest.raises(RlkdError, match="has no column domain, path; it has , problem, answer"):
        check_columns(file, ("problem", "domain", "path"))
    assert read(file) == [{"": "0", "problem": "1+1?", "answer": "2"}]


def test_a_duplicate_key_is_found_across_formats(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "1.jsonl.gz", gzip.compress(b'{"id": "a"}\n')),
        write(tmp_path, "2.json", b'[{"id": "b"}, {"id": "a"}]'),
        write(tmp_path, "3.csv", b"id,x\nb,1\nc,2\n"),
        tmp_path / "4.parquet",
    ]
    pq.write_table(pa.Table.from_pylist([{"id": "c"}, {"id": "d"}]), files[3])
    got = list(raw_rows(files, key="id"))
    assert [place.removeprefix(f"{tmp_path}/") for place, _ in got] == [
        *("1.jsonl.gz:1", "2.json:row 1", "2.json:row 2", "3.csv:2", "3.csv:3"),
        *("4.parquet:row 1", "4.parquet:row 2"),
    ]
    assert [isinstance(row, FormatError) for _, row in got] == [0, 0, 1, 1, 0, 1, 0]
    assert count_rows(files) == 7


def test_a_cut_parquet_file_is_refused_before_any_work(tmp_path: Path) -> None:
    """By the function that every job calls first."""
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    file.write_bytes(file.read_bytes()[:-20])
    for begin in (lambda: row_files(file), lambda: next(raw_rows([file]))):
        with pytest.raises(RlkdError, match="is not a complete Parquet file"):
            begin()


def test_an_empty_path_of_a_table_beside_a_structure_is_none() -> None:
    """A cell cannot say null; without a structure the path is missing."""
    row = {"problem": "p", "answer": "1", "teacher_reasoning": "", "teacher_structure": "s"}
    assert grpo_row(row)["teacher_reasoning"] is None
    with pytest.raises(FormatError, match="teacher_reasoning is missing or not a text"):
        grpo_row({**row, "teacher_structure": ""})
