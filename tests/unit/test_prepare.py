"""`rlkd prepare`: what is kept, what is refused with its place, and that OUT is whole or absent."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlkd_plugin import rlkd_files
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import prepare as job
from rlkd_plugin.rlkd_data.prepare import prepare
from rlkd_plugin.rlkd_data.rows.formats import FORMATS
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row
from tools.stand_ins.hub_shapes import openr1, openthoughts, pair

ROOT = Path(__file__).resolve().parents[2]

GOOD = {
    "question": "Ann has 2 pens and buys 3 more. How many has she?",
    "answer": "Ann has 2 + 3 = <<2+3=5>>5 pens.\n#### 5",
}
NO_RESULT = {"question": "How many?", "answer": "Ann has 5 pens."}


def write(path: Path, *lines: object) -> Path:
    """Write lines: texts and bytes as they are, anything else as JSON."""
    with path.open("wb") as file:
        for line in lines:
            if not isinstance(line, bytes):
                line = (line if isinstance(line, str) else json.dumps(line)).encode()
            file.write(line + b"\n")
    return path


def test_gsm8k_row_becomes_a_row_for_training(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    summary = prepare("gsm8k", write(tmp_path / "in.jsonl", GOOD), out)
    assert (summary.kept, summary.refused) == (1, {})
    assert json.loads(out.read_text()) == {
        "messages": [{"role": "user", "content": GOOD["question"]}],
        "solution": "\\boxed{5}",
        "problem": GOOD["question"],
        "domain": "math",
        "teacher_reasoning": "Ann has 2 + 3 = 5 pens.",
        "teacher_structure": None,
    }


def test_own_rows_pass_unchanged(tmp_path: Path) -> None:
    once = tmp_path / "once.jsonl"
    again = tmp_path / "again.jsonl"
    prepare("gsm8k", write(tmp_path / "in.jsonl", GOOD), once)
    prepare("jsonl", once, again)
    assert again.read_bytes() == once.read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "How', "broken JSON: Unterminated string starting at, character 14"),
        ("[1, 2]", "no JSON object: [1, 2]"),
        (NO_RESULT, "answer has no result line"),
        (b'{"question": "caf\xe9"}', "not UTF-8: byte 18 of the line"),
        ("[" * 200_000, "JSON that Python does not read: "),
        ("9" * 5000, "JSON that Python does not read: "),
        ({**GOOD, "question": "\ud83d"}, "half a surrogate pair"),
        ({**GOOD, "question": [7]}, "question is missing or not a text: [7]"),
    ],
    ids=["cut", "list", "no-result", "latin-1", "deep", "digits", "surrogate", "list-field"],
)
def test_an_unusable_line_is_refused_with_its_place(
    line: object, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "in.jsonl", GOOD, line, GOOD)
    summary = prepare("gsm8k", source, tmp_path / "rows.jsonl")
    assert summary.kept == 2
    assert sum(summary.refused.values()) == 1
    assert caplog.messages[0].startswith(f"{source}:2: {message}")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2


def test_a_last_line_without_newline_counts_if_it_is_whole(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    text = json.dumps(GOOD)
    source.write_text(f"{text}\n{text}")
    assert prepare("gsm8k", source, tmp_path / "rows.jsonl").kept == 2
    source.write_text(f"{text}\n{text[:-9]}")
    assert prepare("gsm8k", source, tmp_path / "rows.jsonl").refused == {"broken JSON": 1}


def test_byte_order_mark_windows_lines_and_blank_lines_are_no_errors(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    text = json.dumps(GOOD).encode()
    source.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\r\n" + text + b"\r\n\n")
    summary = prepare("gsm8k", source, tmp_path / "rows.jsonl")
    assert (summary.kept, summary.refused) == (2, {})


def test_text_stays_as_it_is(tmp_path: Path) -> None:
    row = {**GOOD, "question": "多少 \u2028 50 € <think>"}
    out = tmp_path / "rows.jsonl"
    prepare("gsm8k", write(tmp_path / "in.jsonl", row), out)
    assert json.loads(out.read_text("utf-8"))["problem"] == row["question"]
    assert "多少" in out.read_text("utf-8")


def test_only_the_first_refusals_of_a_reason_are_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "in.jsonl", GOOD, *[NO_RESULT] * 25, "[]")
    summary = prepare("gsm8k", source, tmp_path / "rows.jsonl")
    reason = "answer has no result line '#### ...'"
    assert summary.refused == {reason: 25, "no JSON object": 1}
    # 20 of the 25, the one of the other reason, and a line that counts the 5 left
    assert len(caplog.messages) == 22
    assert caplog.messages[-1] == f"... and 5 more: {reason}"


def test_wrong_arguments_are_errors_before_any_work(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", GOOD)
    link = tmp_path / "link.jsonl"
    link.symlink_to(source)
    empty = tmp_path / "empty"
    empty.mkdir()
    for name, src, out, message in (
        (
            "gsm9k",
            source,
            tmp_path / "o",
            "unknown format 'gsm9k'; known: gsm8k, gsrm-sft, jsonl, ",
        ),
        ("gsm8k", tmp_path / "none", tmp_path / "o", "there is no file"),
        ("gsm8k", empty, tmp_path / "o", r"has no row file \(.jsonl"),
        ("gsm8k", source, tmp_path / "none" / "o", "there is no folder"),
        ("gsm8k", source, tmp_path, "is a folder"),
        ("gsm8k", source, Path("/dev/null"), "a folder or a device"),
        ("gsm8k", tmp_path, tmp_path / "o.jsonl", "would be read as a source"),
        ("gsm8k", source, source, "is the source itself"),
        ("gsm8k", source, link, "is the source itself"),
    ):
        with pytest.raises(RlkdError, match=message):
            prepare(name, src, out)
    assert sorted(tmp_path.iterdir()) == [empty, source, link]


@pytest.mark.parametrize("lines", [[], [NO_RESULT]], ids=["empty", "all-refused"])
def test_no_row_is_an_error_and_leaves_what_was_there(lines: list, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *lines)
    out = tmp_path / "rows.jsonl"
    with pytest.raises(RlkdError, match="no row in the format gsm8k"):
        prepare("gsm8k", source, out)
    assert sorted(tmp_path.iterdir()) == [source]
    write(source, GOOD)
    prepare("gsm8k", source, out)
    before = out.read_bytes()
    write(source, *lines)
    with pytest.raises(RlkdError, match="no row in the format gsm8k"):
        prepare("gsm8k", source, out)
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [source, out, tmp_path / "rows.jsonl.rlkd.json"]


def many(path: Path, count: int) -> Path:
    """Write GSM8K rows, every seventh of them without a result."""
    rows = [
        {"question": f"{n}?", "answer": "none" if n % 7 == 3 else f"{n}.\n#### {n}"}
        for n in range(count)
    ]
    return write(path, *rows)


def stop_at(row: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the job be interrupted at a row, once; the list gets every row that is worked on."""
    worked: list[int] = []
    stops = [row]

    def gsm8k(raw: dict) -> dict:
        worked.append(int(raw["question"][:-1]))
        if worked[-1] in stops:
            stops.clear()
            raise KeyboardInterrupt
        return gsm8k_row(raw)

    monkeypatch.setitem(FORMATS, "gsm8k", replace(FORMATS["gsm8k"], make_row=gsm8k))
    return worked


def test_a_stopped_job_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped at row 25 in blocks of 10 rows, it goes on behind row 19, and finds a new fault."""
    source = many(tmp_path / "in.jsonl", 50)
    with source.open("a") as lines:
        lines.write("{\n")
    whole = prepare("gsm8k", source, tmp_path / "whole.jsonl")
    monkeypatch.setattr(job, "BLOCK", 10)
    worked = stop_at(25, monkeypatch)
    out = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        prepare("gsm8k", source, out)
    assert not out.exists()
    worked.clear()
    caplog.clear()
    summary = prepare("gsm8k", source, out)
    assert worked == list(range(20, 50))
    assert caplog.messages[0] == "resuming after 20 rows"
    assert (summary.kept, summary.refused) == (whole.kept, whole.refused)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    found = {file.name.removesuffix(".rlkd.json") for file in tmp_path.iterdir()}
    assert found == {"in.jsonl", "whole.jsonl", "rows.jsonl"}


def test_workers_change_nothing_but_the_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same rows in the same order, and the same refusals."""
    source = many(tmp_path / "in.jsonl", 1200)
    one, two = (prepare("gsm8k", source, tmp_path / f"{n}.jsonl", workers=n) for n in (1, 2))
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert vars(one) == vars(two)
    half = len(caplog.messages) // 2
    assert caplog.messages[:half] == caplog.messages[half:]


@pytest.mark.parametrize("change", ["source", "rows lost", "progress cut"])
def test_a_job_whose_ground_has_changed_starts_anew(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done of another source, or is not there any more, is not gone on with."""
    source = many(tmp_path / "in.jsonl", 50)
    monkeypatch.setattr(job, "BLOCK", 10)
    worked = stop_at(25, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        prepare("gsm8k", source, tmp_path / "rows.jsonl")
    if change == "source":
        many(source, 60)
    elif change == "rows lost":
        (tmp_path / ".rows.jsonl.part").write_bytes(b"")
    else:
        (tmp_path / ".rows.jsonl.progress.json").write_text('{"job": ')
    worked.clear()
    prepare("gsm8k", source, tmp_path / "rows.jsonl")
    assert worked[0] == 0
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(rows) == len(set(rows)) == sum(n % 7 != 3 for n in worked)


def test_a_killed_job_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle of real work, twice; the file is that of a job that was not killed."""
    source = many(tmp_path / "in.jsonl", 3000)
    out = tmp_path / "rows.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from rlkd_plugin.rlkd_data import prepare as job\n"
        "job.BLOCK = 100\n"
        "def kill(rows):\n"
        "    if rows == int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "job.prepare('gsm8k', Path(sys.argv[1]), Path(sys.argv[2]), 2, kill)\n"
    )
    for stop in (1000, 2500, 0):
        command = [sys.executable, "-c", code, str(source), str(out), str(stop)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == (-9 if stop else 0), done.stderr
    assert "resuming after 2500 rows" in done.stderr
    prepare("gsm8k", source, tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_second_job_for_the_same_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write between the rows of the first."""
    source = many(tmp_path / "in.jsonl", 20)
    monkeypatch.setattr(job, "BLOCK", 10)

    def second(rows: int) -> None:
        with pytest.raises(RlkdError, match="another job writes"):
            prepare("gsm8k", source, tmp_path / "rows.jsonl")

    assert prepare("gsm8k", source, tmp_path / "rows.jsonl", on_progress=second).kept == 17


def test_of_two_rows_with_one_uuid_the_first_counts(tmp_path: Path) -> None:
    """Also if the first is refused."""
    bad = openr1(2, answer=None)
    source = write(tmp_path / "in.jsonl", openr1(1), openr1(1), bad, openr1(2), openr1(3))
    summary = prepare("openr1-math", source, tmp_path / "rows.jsonl")
    assert summary.kept == 2
    assert summary.refused == {"duplicate uuid": 2, "answer is missing or not a text": 1}


def test_a_uuid_is_known_behind_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in.jsonl", openr1(1), openr1(2), openr1(1), openr1(3))
    monkeypatch.setattr(job, "BLOCK", 2)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("openr1-math", source, tmp_path / "rows.jsonl", on_progress=stop)
    summary = prepare("openr1-math", source, tmp_path / "rows.jsonl")
    assert (summary.kept, summary.refused) == (3, {"duplicate uuid": 1})


def test_a_claim_on_a_file_that_was_renamed_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job may have made it its OUT and begun a new one in its place."""
    out = tmp_path / "rows.jsonl"
    part = tmp_path / ".rows.jsonl.part"

    def lock_late(rows: object, how: int) -> None:
        if part.exists():  # the record is claimed before it
            part.rename(out)
            out.write_text("of the other job")
            part.write_bytes(b"")

    monkeypatch.setattr(rlkd_files.fcntl, "flock", lock_late)
    with pytest.raises(RlkdError, match="another job writes"):
        prepare("gsm8k", write(tmp_path / "in.jsonl", GOOD), out)
    assert out.read_text() == "of the other job"


def test_rows_without_a_uuid_are_no_repetition(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", openr1(1, uuid=None), openr1(1, uuid=None))
    assert prepare("openr1-math", source, tmp_path / "rows.jsonl").kept == 2


def parquet(path: Path, rows: list[dict], **options: int) -> Path:
    """Write a Parquet file."""
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("openr1-math", openr1),
        ("openr1-math-sft", openr1),
        ("openthoughts", openthoughts),
        ("gsrm-sft", pair),
    ],
)
def test_parquet_and_json_lines_give_the_same_rows(
    name: str, shape: Callable[[int], dict], tmp_path: Path
) -> None:
    rows = [shape(number) for number in range(1, 200)]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    prepare(name, write(tmp_path / "in.jsonl", *rows), one)
    prepare(name, parquet(tmp_path / "in.parquet", rows, row_group_size=30), two)
    assert one.read_bytes() == two.read_bytes()
    assert len(one.read_text().splitlines()) == 199


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    parquet(folder / "train-00001.parquet", [openr1(3), openr1(1)])
    parquet(folder / "train-00000.parquet", [openr1(1), openr1(2)])
    (folder / "README.md").write_text("no rows")
    summary = prepare("openr1-math", folder, tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    assert [row["solution"] for row in rows] == ["\\boxed{2}", "\\boxed{4}", "\\boxed{6}"]
    assert summary.refused == {"duplicate uuid": 1}


def test_a_parquet_file_without_a_column_is_refused_before_any_work(tmp_path: Path) -> None:
    rows = [{k: v for k, v in openr1(1).items() if k != "correctness_math_verify"}]
    source = parquet(tmp_path / "in.parquet", rows)
    with pytest.raises(RlkdError, match="has no column correctness_math_verify; it has problem, "):
        prepare("openr1-math", source, tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == [source]


def test_a_bad_row_of_a_parquet_file_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [openr1(1), openr1(2, correctness_math_verify=[True]), openr1(3)]
    source = parquet(tmp_path / "in.parquet", rows)
    assert prepare("openr1-math", source, tmp_path / "rows.jsonl").kept == 2
    assert caplog.messages == [
        f"{source}:row 2: generations and correctness_math_verify differ in length: 2 and 1"
    ]


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", [openr1(1)])
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(RlkdError, match=r"in\.parquet is not a complete Parquet file"):
        prepare("openr1-math", source, tmp_path / "rows.jsonl")


def test_openr1_rows_are_counted_by_reason(tmp_path: Path) -> None:
    """From JSON lines and from Parquet: which were rewritten, and which refused for what."""
    both = {"correctness_math_verify": [True, True]}
    unfinished = ["<think>\nso", "<think>\nso"]
    rows = [
        openr1(1),
        openr1(2, is_reasoning_complete=[False, True], **both),
        openr1(3, is_reasoning_complete=[False, False], **both),
        openr1(4, generations=unfinished, **both),
        openr1(5, correctness_math_verify=[False, False], correctness_llama=[True, True]),
        openr1(6, answer="5 000"),
        openr1(7, answer="60°"),
        openr1(8, answer="100 200"),
        openr1(9, answer="0.333..."),
    ]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    summary = prepare("openr1-math", write(tmp_path / "in.jsonl", *rows), one)
    assert (summary.kept, summary.normalised) == (4, 2)
    assert summary.refused == {
        "the first correct generation is incomplete": 2,
        "no generation is marked correct": 1,
        "gold answer can be read in two ways": 1,
        "gold answer looks like a number but is read as a text": 1,
    }
    solutions = [json.loads(line)["solution"] for line in one.open()]
    assert solutions == ["\\boxed{2}", "\\boxed{4}", "\\boxed{5000}", "\\boxed{60^{\\circ}}"]
    prepare("openr1-math", parquet(tmp_path / "in.parquet", rows), two)
    assert one.read_bytes() == two.read_bytes()


def test_normalised_golds_are_counted_behind_a_stop_and_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.jsonl", *[openr1(n, answer="5 000") for n in range(1, 5)])
    monkeypatch.setattr(job, "BLOCK", 2)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("openr1-math", source, tmp_path / "rows.jsonl", on_progress=stop)
    assert prepare("openr1-math", source, tmp_path / "rows.jsonl").normalised == 4
    assert prepare("openr1-math", source, tmp_path / "two.jsonl", workers=2).normalised == 4
    # a row of ours is not rewritten again
    again = prepare("jsonl", tmp_path / "rows.jsonl", tmp_path / "again.jsonl")
    assert (again.kept, again.normalised) == (4, 0)


def test_rows_without_a_solution_are_kept_and_counted(tmp_path: Path) -> None:
    code = openthoughts(2, domain="code", ground_truth_solution=None, deepseek_solution="return 1")
    source = write(tmp_path / "in.jsonl", openthoughts(1), code, openthoughts(domain="law"))
    out = tmp_path / "rows.jsonl"
    summary = prepare("openthoughts", source, out)
    assert (summary.kept, summary.without_solution) == (2, 1)
    assert list(summary.refused.values()) == [1]
    assert prepare("jsonl", out, tmp_path / "again.jsonl").kept == 2


def test_an_error_of_the_row_function_itself_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert issubclass(FormatError, ValueError)

    def wrong(raw: object) -> dict:
        raise ValueError("a mistake of ours, no refusal")

    monkeypatch.setitem(FORMATS, "gsm8k", replace(FORMATS["gsm8k"], make_row=wrong))
    with pytest.raises(ValueError, match="a mistake of ours"):
        prepare("gsm8k", write(tmp_path / "in.jsonl", GOOD), tmp_path / "rows.jsonl")


def test_the_command_prints_a_summary(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", GOOD, "{", {**GOOD, "answer": "It is.\n#### 5 000"})
    result = CliRunner().invoke(app, ["prepare", "gsm8k", str(source), str(tmp_path / "o.jsonl")])
    assert result.exit_code == 0
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "2 kept" in words
    assert "1 of these with a gold answer in another notation" in words
    assert "1 refused: broken JSON" in words


def test_the_command_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", "gsm8k", str(tmp_path / "none"), "o.jsonl"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"rlkd: there is no file {tmp_path / 'none'}\n"


def test_path_prints_one_line_without_ms_swift() -> None:
    result = CliRunner().invoke(app, ["path"])
    assert result.exit_code == 0
    assert Path(result.stdout.removesuffix("\n")).is_absolute()
    assert Path(result.stdout.removesuffix("\n")).parts[-2:] == ("rlkd_plugin", "register.py")
    assert logging.getLogger("rlkd_plugin").level == logging.NOTSET


def test_a_foreign_file_in_the_place_of_ours_is_not_replaced(tmp_path: Path) -> None:
    """Before a run and while it runs; the record is there each time."""
    source, out = write(tmp_path / "in.jsonl", GOOD), tmp_path / "rows.jsonl"
    prepare("gsm8k", source, out)
    prepare("gsm8k", source, out)
    words = "was changed after `rlkd prepare` wrote it"
    out.write_text("my notes")
    with pytest.raises(RlkdError, match=words):
        prepare("gsm8k", source, out)
    assert out.read_text() == "my notes"
    out.unlink()

    def write_mine(rows: int) -> None:
        out.write_text("mine")

    for _ in range(2):
        with pytest.raises(RlkdError, match=words):
            prepare("gsm8k", source, out, on_progress=write_mine)
        assert out.read_text() == "mine"
        out.unlink()
        prepare("gsm8k", source, out)


@pytest.mark.parametrize("name", [".rows.jsonl.part", ".rows.jsonl.progress.json"])
def test_a_file_with_the_name_of_a_hidden_one_stays(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", GOOD)
    mine = write(tmp_path / name, GOOD)
    before = mine.read_bytes()
    with pytest.raises(RlkdError, match="is not of this job, which needs its name: move it away"):
        prepare("gsm8k", source, tmp_path / "rows.jsonl")
    with pytest.raises(RlkdError, match="has the name of a hidden file of this job"):
        prepare("gsm8k", mine, tmp_path / "rows.jsonl")
    assert mine.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [mine, source]


def test_rows_that_were_changed_behind_a_stop_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also by a change that leaves the size."""
    source = many(tmp_path / "in.jsonl", 50)
    monkeypatch.setattr(job, "BLOCK", 10)
    stop_at(25, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        prepare("gsm8k", source, tmp_path / "rows.jsonl")
    part = tmp_path / ".rows.jsonl.part"
    part.write_bytes(part.read_bytes().replace(b"question", b"QUESTION").replace(b"1?", b"2?"))
    prepare("gsm8k", source, tmp_path / "rows.jsonl")
    assert "its rows are missing: starting from row 1" in caplog.text
    prepare("gsm8k", source, tmp_path / "whole.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_source_that_changes_while_the_job_runs_is_noticed(tmp_path: Path) -> None:
    source = many(tmp_path / "in.jsonl", 20)

    def change(rows: int) -> None:
        with source.open("a") as lines:
            lines.write("{}\n")

    with pytest.raises(RlkdError, match="was changed while the job ran, so rows of it may be"):
        prepare("gsm8k", source, tmp_path / "rows.jsonl", on_progress=change)
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize("digits", [310, 4000])
def test_a_number_of_many_digits_is_a_text(digits: int, tmp_path: Path) -> None:
    line = '{"problem": "p", "domain": "code", "teacher_reasoning": "t", "answer": %s}'
    source = write(tmp_path / "in.jsonl", line % ("7" * digits))
    prepare("jsonl", source, tmp_path / "rows.jsonl")
    assert "7" * digits in (tmp_path / "rows.jsonl").read_text()
