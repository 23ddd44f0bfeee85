"""`rlkd prepare`: what is kept, what is refused with its place, and that OUT is whole or absent."""

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import prepare as job
from rlkd_plugin.rlkd_data.prepare import prepare

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
        ({**GOOD, "question": 7}, "question is missing or no text: 7"),
    ],
    ids=["cut", "list", "no-result", "latin-1", "deep", "digits", "surrogate", "number"],
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
    for name, src, out, message in (
        ("gsm9k", source, tmp_path / "o", "unknown format 'gsm9k'; known: gsm8k, jsonl"),
        ("gsm8k", tmp_path / "none", tmp_path / "o", "there is no file"),
        ("gsm8k", tmp_path, tmp_path / "o", "there is no file"),
        ("gsm8k", source, tmp_path / "none" / "o", "there is no folder"),
        ("gsm8k", source, tmp_path, "is a folder"),
        ("gsm8k", source, source, "is the source itself"),
        ("gsm8k", source, link, "is the source itself"),
    ):
        with pytest.raises(RlkdError, match=message):
            prepare(name, src, out)
    assert sorted(tmp_path.iterdir()) == [source, link]


@pytest.mark.parametrize("lines", [[], [NO_RESULT]], ids=["empty", "all-refused"])
def test_no_row_is_an_error_and_leaves_what_was_there(lines: list, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *lines)
    out = tmp_path / "rows.jsonl"
    out.write_text("of yesterday")
    with pytest.raises(RlkdError, match="no row in the format gsm8k"):
        prepare("gsm8k", source, out)
    assert out.read_text() == "of yesterday"
    assert sorted(tmp_path.iterdir()) == [source, out]


def test_an_interrupted_job_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0

    def interrupted(raw: object) -> dict:
        nonlocal rows
        rows += 1
        if rows == 2:
            raise KeyboardInterrupt
        return {"row": rows}

    monkeypatch.setitem(job.ROW_FUNCTIONS, "gsm8k", interrupted)
    source = write(tmp_path / "in.jsonl", GOOD, GOOD)
    with pytest.raises(KeyboardInterrupt):
        prepare("gsm8k", source, tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == [source]


def test_an_error_of_the_row_function_itself_is_not_swallowed(tmp_path: Path) -> None:
    assert issubclass(FormatError, ValueError)

    def wrong(raw: object) -> dict:
        raise ValueError("a mistake of ours, no refusal")

    with pytest.raises(ValueError, match="a mistake of ours"):
        list(job.convert(iter([b"{}\n"]), wrong))


def test_the_command_prints_a_summary(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", GOOD, "{", GOOD)
    result = CliRunner().invoke(app, ["prepare", "gsm8k", str(source), str(tmp_path / "o.jsonl")])
    assert result.exit_code == 0
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "2 kept" in words
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
