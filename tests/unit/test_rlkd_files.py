"""Files that a kill leaves whole: replaced at once, claimed by one process, read line by line."""

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin import rlkd_files
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_files import (
    append_all,
    append_lines,
    claim,
    cut_half_line,
    json_line,
    json_lines,
    json_object,
    open_whole,
    publish,
    still_there,
    strict_json_lines,
    write_whole,
)


@pytest.mark.parametrize("content", ["é\n", b"\xe9"])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(
    content: str | bytes, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")
    write_whole(file, content)
    assert file.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_a_write_that_stops_half_way_leaves_the_old_content(
    error: type[BaseException], tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")
    with pytest.raises(error), open_whole(file) as content:
        content.write(b"half of the n")
        raise error
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_old_content_is_read_until_the_new_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")
    with open_whole(file) as content:
        content.write(b"new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_a_rename_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")

    def fail(part: Path, file: Path) -> None:
        raise OSError("the network file system is gone")

    monkeypatch.setattr(rlkd_files, "publish", fail)
    with pytest.raises(OSError, match="is gone"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_published_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    part, file = tmp_path / "part", tmp_path / "file"
    part.write_text("new")
    file.write_text("old")
    publish(part, file)
    assert (file.read_text(), part.exists()) == ("new", False)


def write_by_publish(file: Path, content: str) -> None:
    part = file.with_name("part")
    part.write_text(content)
    publish(part, file)


@pytest.mark.parametrize("write", [write_whole, write_by_publish])
@pytest.mark.parametrize("old", ["old", None])
@pytest.mark.parametrize("chain", [False, True])
def test_what_a_link_names_is_replaced_and_the_link_stays(
    write: Callable[[Path, str], None], old: str | None, chain: bool, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real", tmp_path / "link"
    if old is not None:
        real.write_text(old)
    if chain:
        (tmp_path / "second").symlink_to("far/real")
    link.symlink_to("second" if chain else "far/real")
    write(link, "new")
    assert link.is_symlink() and (link.read_text(), real.read_text()) == ("new", "new")
    assert list((tmp_path / "far").iterdir()) == [real]


def test_a_part_is_written_on_the_file_system_of_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/real")
    with open_whole(tmp_path / "link") as content:
        content.write(b"new")
        assert len([*(tmp_path / "far").iterdir()]) == 1
        assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []


@pytest.mark.parametrize("links", [{"one": "one"}, {"one": "two", "two": "one"}])
def test_a_link_that_leads_to_itself_is_refused(links: dict[str, str], tmp_path: Path) -> None:
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    with pytest.raises(RlkdError, match="one is a symbolic link that leads to itself"):
        write_whole(tmp_path / "one", "new")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(links)


def lose_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def replace_folder(file: Path) -> None:
    lose_folder(file)
    file.parent.write_text("a file")


def move(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))


def replace(file: Path) -> None:
    file.with_name("other").write_bytes(file.read_bytes())
    file.with_name("other").rename(file)


@pytest.mark.parametrize(
    "lose",
    [Path.unlink, move, replace, lose_folder, replace_folder],
)
def test_an_open_file_that_is_gone_is_noticed(
    lose: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "rows"
    file.parent.mkdir()
    with claim(file) as lines:
        assert still_there(lines, file)
        lose(file)
        assert not still_there(lines, file)


CLAIM = """
import sys
from pathlib import Path
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_files import claim
try:
    with claim(Path(sys.argv[1]), Path("OUT")):
        print("claimed")
except RlkdError as error:
    print(error)
"""


def claim_elsewhere(file: Path) -> str:
    """Claim a file in another process, and return what came of it."""
    command = [sys.executable, "-c", CLAIM, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_claimed_file_is_refused_to_another_process_until_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with claim(file):
        assert claim_elsewhere(file) == (
            "another job writes OUT; wait for it, or name another file"
        )
    assert claim_elsewhere(file) == "claimed"


def test_a_claim_keeps_what_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"one\n")
    with claim(file) as lines:
        lines.seek(0)
        assert lines.read() == b"one\n"
        lines.write(b"two\n")
        assert file.read_bytes() == b"one\ntwo\n"  # nothing waits in a buffer


@pytest.mark.parametrize("successor", [None, b"", b"of a third job"])
def test_a_file_that_was_published_before_the_lock_came_is_refused(
    successor: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened as the part of a job, and is that job's result when it is locked."""
    part, out = tmp_path / ".part", tmp_path / "out"

    def lock_late(lines: object, how: int) -> None:
        part.rename(out)
        if successor is not None:
            part.write_bytes(successor)

    monkeypatch.setattr(rlkd_files.fcntl, "flock", lock_late)
    with pytest.raises(RlkdError, match=f"another job writes {out}"), claim(part, out):
        pass


class LittleRoom(FileIO):
    """A raw file on a disk that takes three bytes of a write at a time, and then no more."""

    def __init__(self, file: Path, room: int) -> None:
        super().__init__(file, "ab+")
        self.room = room

    def write(self, content: Any) -> int:
        if not self.room:
            raise OSError("no space left")
        taken = super().write(content[: min(self.room, 3)])
        self.room -= taken
        return taken


def test_a_write_in_parts_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with LittleRoom(file, room=100) as lines:
        append_all(lines, b"0123456789\n")
    assert file.read_bytes() == b"0123456789\n"


def test_of_a_line_without_room_nothing_stays(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"before\n")
    with LittleRoom(file, room=5) as lines, pytest.raises(OSError, match="no space left"):
        append_all(lines, b"0123456789\n")
    assert file.read_bytes() == b"before\n"


@pytest.mark.parametrize("whole", [b"", b"\n", b"one\ntwo\n", b"x" * 70_000 + b"\n"])
@pytest.mark.parametrize("half", [b"", b'{"n', b"y" * 200_000])
def test_half_a_last_line_is_cut(half: bytes, whole: bytes, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(whole + half)
    with claim(file) as lines:
        assert cut_half_line(lines) == bool(half)
        lines.write(b"next\n")
    assert file.read_bytes() == whole + b"next\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, b"two\nthree\n"),
        (b"", b"two\nthree\n"),
        (b"one\n", b"one\ntwo\nthree\n"),
        (b'{"hal', b'{"hal\ntwo\nthree\n'),
    ],
)
def test_lines_are_appended_and_half_a_line_stays_apart(
    before: bytes | None, after: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "new folder" / "trace.jsonl"
    if before is not None:
        file.parent.mkdir()
        file.write_bytes(before)
    append_lines(file, b"two\nthree\n")
    assert file.read_bytes() == after


def test_a_row_is_written_in_one_line_of_utf_8() -> None:
    row = {"text": "多少\n\u2028", "day": datetime.date(2026, 11, 26)}
    assert json_line(row) == '{"text": "多少\\n\u2028", "day": "2026-11-26"}\n'.encode()


def test_half_a_surrogate_pair_is_an_error_or_its_escape() -> None:
    row = {"text": "多 \ud83d"}
    with pytest.raises(FormatError, match=r"half a surrogate pair.*'\\ud83d'"):
        json_line(row)
    line = json_line(row, escape=True)
    assert line == b'{"text": "\\u591a \\ud83d"}\n'
    assert json_object(line) == row
    assert json_line({"text": "多"}, escape=True) == json_line({"text": "多"})


BROKEN = [
    (b'{"n": ', "broken JSON: Expecting value, character 7"),
    (b"[1, 2]", r"no JSON object: \[1, 2\]"),
    (b'{"n": "caf\xe9"}', "not UTF-8: byte 11 of the line"),
    (b"[" * 200_000, "JSON that Python does not read: "),
    (b"9" * 5000, "JSON that Python does not read: "),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_a_line_that_is_no_object_says_why(line: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        json_object(line)


def test_lines_are_read_with_their_numbers(tmp_path: Path) -> None:
    """A byte order mark, blank lines, Windows' ends of lines and a last line without one."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\n  \n{"n": \n{"n": 5}')
    (first, row), (second, error), last = json_lines(file)
    assert ((first, row), last) == ((1, {"n": 1}), (5, {"n": 5}))
    assert (second, str(error)) == (4, "broken JSON: Expecting value, character 7")


def test_a_byte_order_mark_inside_a_file_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{}\n\xef\xbb\xbf{"n": 1}\n')
    assert [isinstance(row, FormatError) for _, row in json_lines(file)] == [False, True]


def test_a_line_separator_of_unicode_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"text": "a\u2028b\x85c\x0cd\re"}, {"text": ""}]
    file.write_bytes(b"".join(map(json_line, rows)))
    assert [row for _, row in json_lines(file)] == rows


def test_a_broken_line_of_our_own_file_is_an_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"n": 1}\n\n{"n": 2}\n{"n"\n')
    read = strict_json_lines(file)
    assert [next(read), next(read)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(RlkdError, match=r"rows\.jsonl:4: broken JSON"):
        next(read)
