"""Local copies of test sets: numbers become texts, rows of another shape are named."""

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_eval.benchmarks import benchmark
from rlkd_plugin.rlkd_eval.local_problems import as_text, read_problems


def write(folder: Path, *made: Any) -> Path:
    file = folder / "rows.jsonl"
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in made)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"),
        (" 5 ", " 5 "),
        (5, "5"),
        (-5, "-5"),
        (0, "0"),
        (5.0, "5"),
        (0.5, "0.5"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (Decimal("24.00"), "24"),
        (Decimal("0.250"), "0.25"),
        (["5"], "5"),
        ([5], "5"),
    ],
)
def test_a_number_becomes_its_text(value: Any, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    "value", [None, "", " ", True, [], [1, 2], [[1]], {"a": 1}, float("nan"), float("inf")]
)
def test_what_is_neither_text_nor_number_is_refused(value: Any) -> None:
    with pytest.raises(FormatError, match="it has to be a text or a number, not"):
        as_text(value)


MATH = {"problem": "1 + 1?", "answer": "2", "solution": "", "level": 3, "unique_id": 7}


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("aime24", {"problem": "p", "answer": None}, "answer of a problem of AIME24: it has to be"),
        ("aime24", {"problem": "p", "answer": [1, 2]}, "a text or a number, not [1, 2]"),
        ("aime24", {"problem": "p", "answer": "5.5"}, "it has to be an integer, not '5.5'"),
        ("aime24", {"problem": "p", "answer": 5.5}, "it has to be an integer, not '5.5'"),
        ("aime24", {"problem": "p", "answer": "1,0,2"}, "it has to be an integer, not '1,0,2'"),
        ("aime24", {"problem": "p", "answer": "3,14"}, "it has to be an integer, not '3,14'"),
        ("aime24", {"problem": "p", "answer": "5 000"}, "it has to be an integer, not '5 000'"),
        ("aime24", {"problem": ["p", "q"], "answer": 5}, "problem of a problem of AIME24: it has"),
        ("aime24", {"Problem": "p", "Answer": 5}, "needs problem, answer; this one has Problem, A"),
        ("aime24", {}, "needs problem, answer; this one has nothing"),
        ("aime24", [1, 2], "rows.jsonl:2: "),
        ("aime24", '{"problem": ', "rows.jsonl:2: "),
        ("math500", {**MATH, "level": "6"}, "level must be one of 1, 2, 3, 4, 5, not '6'"),
        ("math500", {**MATH, "level": None}, "level must be one of 1, 2, 3, 4, 5, not None"),
        ("math500", {**MATH, "answer": {"value": 2}}, "not {'value': 2}"),
        ("gsm8k", {"question": True, "answer": 5}, "question of a problem of GSM8K: it has to be"),
    ],
)
def test_a_row_of_another_shape_is_one_sentence(
    name: str, row: Any, says: str, tmp_path: Path
) -> None:
    """With its file and line."""
    good = {"problem": "p", "question": "q", "answer": 1, "level": 1, "unique_id": 1, "solution": 1}
    file = write(tmp_path, good, row)
    with pytest.raises(RlkdError) as caught:
        read_problems(benchmark(name), file, 0)
    said = str(caught.value)
    assert said.startswith(f"{file}:2: ") and says in said and "\n" not in said
    # a row behind the limit is not read
    assert len(read_problems(benchmark(name), file, 1).splitlines()) == 1


@pytest.mark.parametrize("answer", ["7", "007", "$7$", "\\boxed{7}", "7.0", "7.", 7, 7.0, [7]])
def test_an_integer_is_known_in_its_forms(answer: Any, tmp_path: Path) -> None:
    """evalscope reads what comes out as 7."""
    pytest.importorskip("evalscope")
    from evalscope.metrics.math.parser import compare_answers

    file = write(tmp_path, {"problem": 5, "answer": answer, "id": [1]})
    row = json.loads(read_problems(benchmark("aime24"), file, 0))
    assert (row["problem"], row["id"]) == ("5", [1])
    assert compare_answers("7", row["answer"], integer_only=True).matched


@pytest.mark.parametrize(
    ("level", "kept"), [(3, 3), ("3", "3"), ("Level 3", "3"), ("level 3", "3"), (3.0, "3")]
)
def test_a_level_is_known_in_its_forms(level: Any, kept: Any, tmp_path: Path) -> None:
    file = write(tmp_path, {**MATH, "level": level})
    assert json.loads(read_problems(benchmark("math500"), file, 0))["level"] == kept


def test_rows_that_were_right_stay_as_they_are(tmp_path: Path) -> None:
    """Else an evaluation that was begun before would be taken for one of other problems."""
    file = write(tmp_path, MATH, {**MATH, "subject": "Algebra ü"})
    assert read_problems(benchmark("math500"), file, 0) == file.read_bytes()


GPQA = {
    "Record ID": "rec1",
    "Question": "Which,\nof these?",
    "Correct Answer": '10^-4 eV, or "so"',
    "Incorrect Answer 1": "2",
    "Incorrect Answer 2": " 3\n",
    "Incorrect Answer 3": "4.50",
    "Explanation": "",
}


@pytest.mark.parametrize(
    "name", ["rows.csv", "rows.tsv", "rows.csv.gz", "rows.json", "rows.jsonl.gz"]
)
@pytest.mark.parametrize(
    ("title", "rows"),
    [
        ("gpqa_diamond", [GPQA, GPQA | {"Question": "And,now?"}]),
        ("math500", [{k: str(v) for k, v in MATH.items()} | {"level": "Level 3"}]),
        ("math500", [{k: str(v) for k, v in MATH.items()} | {"level": "3.0"}]),
        ("aime24", [{"problem": "p", "answer": "033"}, {"problem": "q", "answer": "7."}]),
        ("gsm8k", [{"question": "q", "answer": "so\n#### 5"}]),
    ],
)
def test_every_format_gives_the_problems_of_json_lines(
    title: str, rows: list[dict[str, str]], name: str, tmp_path: Path
) -> None:
    lines = read_problems(benchmark(title), write(tmp_path, *rows), 0)
    mark = "\t" if "tsv" in name else ","
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), delimiter=mark)
    table.writeheader()
    table.writerows(rows)
    content = json.dumps(rows) if ".json" in name else text.getvalue()
    if ".jsonl" in name:
        content = "".join(json.dumps(row) + "\n" for row in rows)
    file = tmp_path / name
    file.write_bytes(gzip.compress(content.encode()) if ".gz" in name else content.encode())
    assert read_problems(benchmark(title), file, 0) == lines
    assert len(read_problems(benchmark(title), file, 1).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "problem,answer\np,1\nq,\n",
            ":3: answer of a problem of AIME24: it has to be a text or a",
        ),
        ("problem,answer\np,1\nq,5.5\n", ":3: answer of a problem of AIME24: it has to be an int"),
        ("problem,answer\np,1\nq\n", ":3: another number of cells than the header has: 1, not 2"),
        ("Problem,Answer\np,1\n", ":2: a problem of AIME24 needs problem, answer; this one has Pr"),
        ("problem;answer\np;1\n", " has one column, 'problem;answer'; if semicolons separate"),
        ('problem,answer\np,1\n"q,2\n', " cannot be read after row 1: line 3: a quoted cell does"),
        ("problem,answer\n", " has no problem of AIME24"),
        ("", " is empty; the first row must have the names of the columns"),
    ],
)
def test_a_table_of_another_shape_is_one_sentence(content: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(content, "utf-8")
    with pytest.raises(RlkdError) as caught:
        read_problems(benchmark("aime24"), file, 0)
    assert str(caught.value).startswith(f"{file}{says}")
