"""`rlkd prepare` writes the same rows from every format, and goes on in every format."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import prepare as job
from rlkd_plugin.rlkd_data.prepare import prepare
from tools.stand_ins.hub_shapes import openr1, openthoughts, pair


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def json_array(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=2, ensure_ascii=False).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def gsm8k(number: int) -> dict[str, str]:
    return {"question": f"{number},\nor not?", "answer": f'It is "{number}".\n#### {number}'}


FILES: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "in.jsonl.gz": lambda rows: gzip.compress(json_lines(rows)),
    "in.jsonl.zst": lambda rows: zstandard.compress(json_lines(rows)),
    "in.json": json_array,
    "in.json.gz": lambda rows: gzip.compress(json_array(rows)),
    "in.csv": table,
    "in.csv.zst": lambda rows: zstandard.compress(table(rows)),
}


SHAPES = {"openr1-math": openr1, "openthoughts": openthoughts, "gsrm-sft": pair, "gsm8k": gsm8k}
CASES = [
    (name, file)
    for name in SHAPES
    for file in FILES
    if "csv" not in file or name != "openr1-math"  # its rows hold lists, which no cell does
]


@pytest.mark.parametrize(("name", "file"), CASES)
def test_every_format_gives_the_rows_of_json_lines(name: str, file: str, tmp_path: Path) -> None:
    """Whatever its compression."""
    rows = [SHAPES[name](number) for number in range(1, 80)]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    plain, other = tmp_path / "in.jsonl", tmp_path / file
    plain.write_bytes(json_lines(rows))
    other.write_bytes(FILES[file](rows))
    for source, out in ((plain, one), (other, two)):
        result = CliRunner().invoke(app, ["prepare", name, str(source), str(out)])
        assert result.exit_code == 0, result.stderr
    assert one.read_bytes() == two.read_bytes()
    assert len(one.read_text().splitlines()) >= 79


@pytest.mark.parametrize("file", FILES)
def test_a_stopped_job_goes_on(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [openthoughts(number) for number in range(1, 30)]
    source = tmp_path / file
    source.write_bytes(FILES[file](rows))
    monkeypatch.setattr(job, "BLOCK", 4)
    read = 0

    def stop(now: int) -> None:
        nonlocal read
        read = now
        if now >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("openthoughts", source, tmp_path / "out.jsonl", on_progress=stop)
    prepare("openthoughts", source, tmp_path / "out.jsonl")
    prepare("openthoughts", source, tmp_path / "whole.jsonl")
    assert read == 8
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("file", [name for name in FILES if name != "in.csv"])
def test_a_file_that_ends_too_early_gives_no_result(file: str, tmp_path: Path) -> None:
    """What is done stays hidden; behind the whole file the job starts again."""
    rows = [openthoughts(number) for number in range(1, 30)]
    source, out = tmp_path / file, tmp_path / "out.jsonl"
    whole = FILES[file](rows)
    source.write_bytes(whole[:-8])
    with pytest.raises(RlkdError, match=r"cannot be read after row \d+: .*; fetch it again"):
        prepare("openthoughts", source, out)
    assert not out.exists()
    source.write_bytes(whole)
    assert prepare("openthoughts", source, out).kept == 29


def test_a_folder_of_all_formats_is_one_source(tmp_path: Path) -> None:
    """And a row of a table is refused with its line."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, (file, make) in enumerate(FILES.items()):
        (folder / f"{number}.{file}").write_bytes(make([gsm8k(number)]))
    (folder / "z.csv").write_text("question,answer\n1?,#### 5\n2?\n")
    result = CliRunner().invoke(app, ["prepare", "gsm8k", str(folder), str(tmp_path / "out.jsonl")])
    assert result.exit_code == 0
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "6 kept" in words
    assert "1 refused: another number of cells than the header has" in words
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert [row["solution"] for row in rows] == [f"\\boxed{{{number}}}" for number in range(6)]


def test_a_table_without_a_needed_column_is_refused_before_any_work(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv.gz", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(b"question,solution\n1?,2\n"))
    with pytest.raises(RlkdError, match="has no column answer; it has question, solution"):
        prepare("gsm8k", source, out)
    assert list(tmp_path.iterdir()) == [source]
