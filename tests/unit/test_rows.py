"""`--dataset rlkd/...` through ms-swift's own loader."""

import csv
import gzip
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlkd_plugin.gsrm import RlkdError
from tools.stand_ins.hub_shapes import openr1, openthoughts, pair

COLUMNS = {"messages", "solution", "problem", "domain", "teacher_reasoning", "teacher_structure"}


PROSE = {
    "problem": "Why?",
    "domain": "math",
    "teacher_reasoning": "Because.",
    "solution": "it has no answer in it",
}


@pytest.fixture
def swift_log() -> Iterator[list[str]]:
    """The messages of ms-swift's logger."""
    from swift.utils import get_logger

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    get_logger().addHandler(handler)
    yield messages
    get_logger().removeHandler(handler)


def load(name: str, **options: Any) -> Any:
    """Load a data set as GRPO does, with all its columns."""
    from swift.dataset import load_dataset

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    return load_dataset(name, **{"remove_unused_columns": False, "seed": 1, **options})[0]


def write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def ours(answer: str) -> dict[str, str]:
    """A row in our format."""
    return {
        "problem": f"What is {answer}?",
        "domain": "math",
        "teacher_reasoning": f"It is {answer}.",
        "solution": f"\\boxed{{{answer}}}",
    }


def test_the_demo_has_the_rewards_columns() -> None:
    """All shipped problems are loaded, with every column that the reward needs."""
    rows = load("rlkd/demo")
    assert len(rows) >= 60
    assert set(rows.column_names) >= COLUMNS
    assert rows[0]["solution"].startswith("\\boxed{")


@pytest.mark.parametrize("processes", [1, 2])
def test_dropped_rows_are_counted_by_reason(
    processes: int, tmp_path: Path, swift_log: list[str]
) -> None:
    """Two golds are prose, one path is missing; the other rows stay, in their order."""
    no_path = {**ours("9"), "teacher_reasoning": None}
    file = write(tmp_path / "rows.jsonl", [ours("4"), PROSE, no_path, ours("7"), PROSE])
    rows = load(f"rlkd/jsonl:{file}", num_proc=processes)
    assert [row["solution"] for row in rows] == ["\\boxed{4}", "\\boxed{7}"]
    assert (
        "rlkd: rlkd/jsonl: 2 of 5 rows kept; dropped 2: gold answer does not verify against itself"
        "; dropped 1: teacher_reasoning is missing or not a text"
    ) in swift_log
    assert any("does not verify against itself: 'it has no" in line for line in swift_log)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("openr1-math", openr1), ("openr1-math-sft", openr1), ("openthoughts", openthoughts)],
)
def test_a_local_copy_gives_the_rows_that_prepare_writes(
    name: str, shape: Callable[[int], dict[str, Any]], kind: str, tmp_path: Path
) -> None:
    """Row by row and column by column, from JSON lines and from Parquet."""
    from rlkd_plugin.rlkd_data.prepare import prepare

    raw = [shape(number) for number in range(1, 20)]
    source = tmp_path / f"copy.{kind}"
    if kind == "jsonl":
        write(source, raw)
    else:
        pq.write_table(pa.Table.from_pylist(raw), source)
    prepare(name, source, tmp_path / "out.jsonl")
    prepared = [
        {k: "" if v is None else v for k, v in json.loads(line).items()}
        for line in (tmp_path / "out.jsonl").open()
    ]
    loaded = load(f"rlkd/{name}:{source}")
    assert [{k: v for k, v in row.items() if k in COLUMNS} for row in loaded] == prepared


def test_a_folder_of_parquet_files_is_a_local_copy(tmp_path: Path, swift_log: list[str]) -> None:
    """As `modelscope download --dataset` leaves it; a row that comes twice counts once."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, rows in enumerate(([openr1(1), openr1(2)], [openr1(2), openr1(3)])):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"train-{number}.parquet")
    rows = load(f"rlkd/openr1-math:{folder}")
    assert [row["solution"] for row in rows] == ["\\boxed{2}", "\\boxed{4}", "\\boxed{6}"]
    assert "rlkd: rlkd/openr1-math: 3 of 4 rows kept; dropped 1: duplicate uuid" in swift_log


def test_a_row_limit_takes_the_same_rows_every_time(tmp_path: Path) -> None:
    """Seeded: whatever the processes; and the same problems for SFT as for GRPO."""
    rows = [openr1(n, answer=None if n % 5 == 0 else str(2 * n)) for n in range(1, 200)]
    file = write(tmp_path / "openr1.jsonl", rows)
    one, again, sft, other = (
        load(f"rlkd/{name}:{file}#32", shuffle=True, **options)["problem"][:]
        for name, options in (
            ("openr1-math", {}),
            ("openr1-math", {"num_proc": 2, "load_from_cache_file": False}),
            ("openr1-math-sft", {}),
            ("openr1-math", {"seed": 2}),
        )
    )
    assert len(set(one)) == 32
    assert one == again == sft
    assert set(one) != set(other)


def test_pairs_train_the_gsrm_through_swifts_own_columns(tmp_path: Path) -> None:
    """With `remove_unused_columns`, as in SFT, the two messages are what is left."""
    file = write(tmp_path / "pairs.jsonl", [pair(1), pair(2, structure="none"), pair(3)])
    rows = load(f"rlkd/gsrm-sft:{file}", remove_unused_columns=True)
    assert [[m["role"] for m in row["messages"]] for row in rows] == [["user", "assistant"]] * 2


def test_a_parquet_file_without_a_column_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    raw = openr1(1)
    del raw["generations"]
    pq.write_table(pa.Table.from_pylist([raw]), tmp_path / "copy.parquet")
    with pytest.raises(RlkdError, match=r"rlkd/openr1-math:.*has no column generations; it has "):
        load(f"rlkd/openr1-math:{tmp_path / 'copy.parquet'}")


def test_a_hub_data_set_without_a_column_is_refused() -> None:
    """What comes from a hub is looked at as well."""
    from datasets import Dataset

    from rlkd_plugin.rlkd_data.rows.formats import FORMATS
    from rlkd_plugin.swift_hooks.data.preprocessor import RlkdRows

    rows = RlkdRows("rlkd/openthoughts", FORMATS["openthoughts"])
    with pytest.raises(RlkdError, match="no column deepseek_reasoning, domain; it has problem"):
        rows(Dataset.from_list([{"problem": "1 + 1?"}]))


def test_a_cut_last_line_is_dropped_and_counted(tmp_path: Path, swift_log: list[str]) -> None:
    """With its file and line; the others are trained on."""
    file = write(tmp_path / "rows.jsonl", [ours("4"), ours("5")])
    file.write_bytes(file.read_bytes()[:-20])
    assert load(f"rlkd/jsonl:{file}")["solution"][:] == ["\\boxed{4}"]
    assert "rlkd: rlkd/jsonl: 1 of 2 rows kept; dropped 1: broken JSON" in swift_log
    assert any(line.endswith(f"({file}:2)") for line in swift_log)


def test_a_row_of_other_types_changes_no_other_row(tmp_path: Path, swift_log: list[str]) -> None:
    """A list and a number among texts, a date among texts, a structure after many without one."""
    bare = {k: v for k, v in ours("1").items() if k != "solution"}
    rows = [{**bare, "problem": f"{n}?", "answer": str(n)} for n in range(1500)]
    rows[2]["answer"] = 7.5
    rows[3]["answer"] = [7]
    rows[4]["problem"] = "2024-01-01"
    rows[-1] |= {"teacher_structure": "[Meta-reasoning 1]: x", "extra": {"a": [1]}}
    loaded = load(f"rlkd/jsonl:{write(tmp_path / 'rows.jsonl', rows)}")
    assert len(loaded) == 1499
    assert loaded[2]["solution"] == "\\boxed{7.5}"
    assert loaded[3]["problem"] == "2024-01-01"
    assert loaded[-1]["teacher_structure"] == "[Meta-reasoning 1]: x"
    assert any("dropped 1: answer is missing or not a text" in line for line in swift_log)


def test_a_tables_numbers_are_texts(tmp_path: Path) -> None:
    """Whole, floating and decimal ones, as in `rlkd prepare`."""
    from rlkd_plugin.rlkd_data.prepare import prepare

    for answers in ([5, 60], [0.5, -2.25], [Decimal("5000.10"), Decimal("1E+3")]):
        rows = [{**ours("4"), "solution": None, "answer": answer} for answer in answers]
        source = tmp_path / "rows.parquet"
        pq.write_table(pa.Table.from_pylist(rows), source)
        prepare("jsonl", source, tmp_path / "out.jsonl")
        prepared = [json.loads(line)["solution"] for line in (tmp_path / "out.jsonl").open()]
        assert load(f"rlkd/jsonl:{source}")["solution"][:] == prepared
        assert [float(text[7:-1]) for text in prepared] == [float(answer) for answer in answers]


def test_a_generation_that_was_cut_off_is_no_teacher(tmp_path: Path, swift_log: list[str]) -> None:
    """The loader keeps and counts what `rlkd prepare` does; golds are rewritten as there."""
    both = {"correctness_math_verify": [True, True]}
    rows = [
        openr1(2, is_reasoning_complete=[False, True], **both),
        openr1(3, is_reasoning_complete=[False, False], **both),
        openr1(4, answer="5 000"),
    ]
    file = write(tmp_path / "rows.jsonl", rows)
    loaded = load(f"rlkd/openr1-math:{file}")
    assert loaded["teacher_reasoning"][:] == ["I guess 4.", "I guess 8."]
    assert loaded["solution"][:] == ["\\boxed{4}", "\\boxed{5000}"]
    assert (
        "rlkd: rlkd/openr1-math: 2 of 3 rows kept; dropped 1: the first correct generation is "
        "incomplete"
    ) in swift_log
    assert load(f"rlkd/openr1-math-sft:{file}")["messages"][0][-1]["content"].startswith("<think>")


def test_a_tables_bytes_are_no_text(tmp_path: Path) -> None:
    """A column of another type drops its rows, as in `rlkd prepare`."""
    rows = [{**ours("4"), "solution": None, "answer": answer} for answer in (b"4", b"5")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(RlkdError, match="none of the 2 rows can be used"):
        load(f"rlkd/jsonl:{tmp_path / 'rows.parquet'}")


@pytest.mark.parametrize("name", ["st?r.jsonl", "br[1].jsonl", "no_suffix", "a b.json", "x.JSONL"])
def test_a_files_name_is_a_name(name: str, tmp_path: Path) -> None:
    """No pattern, and no sign of its format."""
    write(tmp_path / "star.jsonl", [ours("1")])
    file = write(tmp_path / name, [ours("4")])
    assert load(f"rlkd/jsonl:{file}")["solution"][:] == ["\\boxed{4}"]


def test_a_link_into_a_hubs_cache_is_followed(tmp_path: Path) -> None:
    """Its target has no suffix."""
    blob = tmp_path / "blobs" / "abc123"
    folder = tmp_path / "snapshot" / "data"
    blob.parent.mkdir()
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([openr1(1)]), blob)
    (folder / "train-0.parquet").symlink_to(blob)
    for place in (folder, folder / "train-0.parquet"):
        assert load(f"rlkd/openr1-math:{place}")["solution"][:] == ["\\boxed{2}"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Whatever is in the cache."""
    file = write(tmp_path / "rows.jsonl", [ours("4")])
    assert len(load(f"rlkd/jsonl:{file}")) == 1
    write(file, [ours("4"), ours("5")])
    assert len(load(f"rlkd/jsonl:{file}")) == 2


def test_streamed_rows_are_the_same(tmp_path: Path) -> None:
    """With `--streaming true` rows are dropped as they come."""
    file = write(tmp_path / "rows.jsonl", [ours("4"), PROSE, ours("7")])
    rows = list(load(f"rlkd/jsonl:{file}", streaming=True))
    assert [row["solution"] for row in rows] == ["\\boxed{4}", "\\boxed{7}"]


def packed(rows: Sequence[dict[str, Any]], name: str) -> bytes:
    """Rows as a file of this name holds them."""
    import zstandard

    if ".json" in name and ".jsonl" not in name:
        content = json.dumps(rows, indent=1).encode()
    elif ".csv" in name:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        content = text.getvalue().encode()
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if name.endswith(".gz"):
        return gzip.compress(content)
    return zstandard.compress(content) if name.endswith(".zst") else content


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "name",
    ["rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.json.gz", "rows.csv", "rows.csv.zst"],
)
def test_every_format_gives_the_rows_of_json_lines(
    name: str, streaming: bool, tmp_path: Path, swift_log: list[str]
) -> None:
    """With the same place for a row that is dropped as in `rlkd prepare`."""
    rows = [ours("4"), {**PROSE, "problem": "Why,\nand how?"}, ours("7")]
    file = tmp_path / name
    file.write_bytes(packed(rows, name))
    loaded = list(load(f"rlkd/jsonl:{file}", streaming=streaming))
    lines = load(f"rlkd/jsonl:{write(tmp_path / 'rows.jsonl', rows)}")
    assert [{name: row[name] for name in COLUMNS} for row in loaded] == [
        {name: row[name] for name in COLUMNS} for row in lines
    ]
    assert len(loaded) == 2
    if not streaming:
        place = "row 2" if ".json" in name and ".jsonl" not in name else 3 if "csv" in name else 2
        assert any(line.endswith(f"({file}:{place})") for line in swift_log)


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.csv.gz"])
def test_a_file_that_ends_too_early_is_not_trained_on(name: str, tmp_path: Path) -> None:
    """One sentence, also where `datasets` stands between; and no half of it in the cache."""
    rows = [ours(str(number)) for number in range(100)]
    file = tmp_path / name
    file.write_bytes(packed(rows, name)[:-5])
    for _ in range(2):
        with pytest.raises(RlkdError, match=rf"rlkd/jsonl:.*{name} cannot be read after row \d+: "):
            load(f"rlkd/jsonl:{file}")
    with pytest.raises(RlkdError, match="cannot be read after row"):
        list(load(f"rlkd/jsonl:{file}", streaming=True))


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    """As Parquet is."""
    file = tmp_path / "rows.csv"
    file.write_text("question,answer\n1?,2\n")
    with pytest.raises(RlkdError, match=r"has no column problem; it has question, answer"):
        load(f"rlkd/jsonl:{file}")


def test_what_of_a_folder_is_not_read_is_said(tmp_path: Path, swift_log: list[str]) -> None:
    """Other splits, sub-folders and other files."""
    (tmp_path / "more").mkdir()
    (tmp_path / "train.jsonl.gz").write_bytes(packed([ours("4")], "train.jsonl.gz"))
    write(tmp_path / "test.jsonl", [ours("5")])
    assert load(f"rlkd/jsonl:{tmp_path}")["solution"][:] == ["\\boxed{4}"]
    assert (
        f"rlkd: not read of {tmp_path}: more (a folder), test.jsonl (of another split, as names "
        "begin with train)"
    ) in swift_log


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "is a Git LFS pointer"),
        (b"<!doctype html><html></html>", "is an HTML page"),
        (b'{\n  "problem": "1?"\n}\n', "is one JSON object over several lines"),
        (b"problem,domain\n1?,math\n2?,math\n", r"looks like a table; name it \.csv"),
    ],
)
def test_a_file_of_another_format_is_one_sentence(
    content: bytes, says: str, tmp_path: Path
) -> None:
    """With the data set's name."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(RlkdError, match=rf"--dataset rlkd/jsonl:.*{says}"):
        load(f"rlkd/jsonl:{file}")


def test_ids_are_for_modelscope_first_and_hugging_face_second() -> None:
    """ms-swift chooses by `--use_hf`; files alone have none."""
    from rlkd_plugin.rlkd_data.rows.formats import FORMATS

    assert {name: form.hub_ids for name, form in FORMATS.items()} == {
        "gsm8k": ("modelscope/gsm8k", "openai/gsm8k"),
        "openr1-math": ("open-r1/OpenR1-Math-220k",) * 2,
        "openr1-math-sft": ("open-r1/OpenR1-Math-220k",) * 2,
        "openr1-math-pairs": ("open-r1/OpenR1-Math-220k",) * 2,
        "openthoughts": ("open-thoughts/OpenThoughts-114k",) * 2,
        "gsrm-sft": ("", ""),
        "jsonl": ("", ""),
        "jsonl-sft": ("", ""),
    }


@pytest.mark.parametrize("use_hf", [False, True])
def test_a_hubs_rows_come_through_swifts_own_download(
    use_hf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id, the subset and the split that ms-swift is asked for, and the rows it gives."""
    from datasets import Dataset

    asked: list[tuple[Any, ...]] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Dataset:
        asked.append(args)
        return Dataset.from_list([openthoughts(1), openthoughts(2, domain="law")])

    hub = "swift.hub.hub.HFHub" if use_hf else "swift.hub.hub.MSHub"
    monkeypatch.setattr(f"{hub}.load_dataset", load_dataset)
    rows = load("rlkd/openthoughts", use_hf=use_hf)
    assert asked == [("open-thoughts/OpenThoughts-114k", "metadata", "train")]
    assert [row["solution"] for row in rows] == ["\\boxed{2}"]


def test_gsm8k_is_read_from_a_local_copy_with_a_row_limit(tmp_path: Path) -> None:
    """`rlkd/gsm8k:FILE#2` takes two rows of the file."""
    raw = [{"question": f"{n}?", "answer": f"{n}+1={n + 1}\n#### {n + 1}"} for n in range(5)]
    file = write(tmp_path / "gsm8k_copy.jsonl", raw)
    rows = load(f"rlkd/gsm8k:{file}#2")
    assert len(rows) == 2
    assert set(rows.column_names) >= COLUMNS


def test_a_missing_file_is_named() -> None:
    """The error has the data set's name and the file."""
    with pytest.raises(RlkdError, match=r"rlkd/jsonl:nowhere/rows\.jsonl: there is no file"):
        load("rlkd/jsonl:nowhere/rows.jsonl")


def test_our_own_format_needs_a_file() -> None:
    """`rlkd/jsonl` alone says how to name one."""
    with pytest.raises(RlkdError, match="needs a file"):
        load("rlkd/jsonl")


def test_rows_that_all_fail_are_an_error(tmp_path: Path) -> None:
    """Training on nothing is refused."""
    file = write(tmp_path / "bad.jsonl", [PROSE])
    with pytest.raises(RlkdError, match="none of the 1 rows can be used"):
        load(f"rlkd/jsonl:{file}")


def test_swifts_own_entries_stay_as_they_are() -> None:
    """Registering ours changes no look-up of another data set, by id or by file name."""
    from swift.dataset import DatasetSyntax

    from rlkd_plugin.swift_hooks.data.loader import RlkdMeta
    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    for name in ("modelscope/gsm8k", "someone/gsm8k", "someone/demo", "x/jsonl"):
        assert not isinstance(DatasetSyntax.parse(name).get_dataset_meta(False), RlkdMeta)


def two_paths(number: int) -> dict[str, Any]:
    """A row of OpenR1-Math with two paths; both generations are right."""
    paths = f"<think>Twice {number}.</think> It is so.", f"<think>{number} + 1 + ...</think> It is."
    return openr1(number, generations=[*paths], correctness_math_verify=[True, True])


@pytest.mark.parametrize("processes", [1, 2])
def test_the_setting_gives_branches(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as `rlkd prepare --branches` writes; the setting is read when rows are loaded."""
    from rlkd_plugin.rlkd_data.prepare import prepare

    file = write(tmp_path / "openr1.jsonl", [two_paths(1), openr1(2), two_paths(3)])
    name = f"rlkd/openr1-math:{file}"
    assert "teacher_branches" not in load(name).column_names
    monkeypatch.setenv("RLKD_BRANCHES", "4")
    branches = load(name, num_proc=processes)["teacher_branches"][:]
    assert branches == [["Twice 1.", "1 + 1 + ..."], ["I guess 4."], ["Twice 3.", "3 + 1 + ..."]]
    prepare("openr1-math", file, tmp_path / "out.jsonl", branches=4)
    written = [json.loads(line)["teacher_branches"] for line in (tmp_path / "out.jsonl").open()]
    assert written == branches
    streamed = list(load(name, streaming=True))
    assert [row["teacher_branches"] for row in streamed] == branches
    assert load(f"rlkd/jsonl:{tmp_path / 'out.jsonl'}")["teacher_branches"][:] == branches


def test_a_wrong_number_of_branches_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKD_BRANCHES", "0")
    file = write(tmp_path / "openr1.jsonl", [openr1(1)])
    with pytest.raises(RlkdError, match="RLKD_BRANCHES='0'"):
        load(f"rlkd/openr1-math:{file}")


@pytest.mark.parametrize("first", ["with", "without"])
def test_columns_that_some_rows_have_all_rows_get(first: str, tmp_path: Path) -> None:
    """Also where the first batch of 1,000 rows has none: one path is the one branch, its structure
    is the row's, and the teacher reads what the student reads."""
    bare = [{**ours(str(n)), "teacher_structure": "own" if n else None} for n in range(1100)]
    full = {
        **ours("7000"),
        "teacher_branches": ["It is 7000.", "7 times 1000."],
        "teacher_structures": [None, "second"],
        "teacher_prompt": "What is 7000? It is.",
    }
    rows = [full, *bare] if first == "with" else [*bare, full]
    loaded = load(f"rlkd/jsonl:{write(tmp_path / 'rows.jsonl', rows)}")
    assert len(loaded) == 1101
    by_problem = {row["problem"]: row for row in loaded}
    row = by_problem["What is 7000?"]
    assert row["teacher_branches"] == full["teacher_branches"]
    assert row["teacher_structures"] == ["", "second"]
    assert row["teacher_prompt"] == full["teacher_prompt"]
    for number, structure in ((0, ""), (1, "own")):
        row = by_problem[f"What is {number}?"]
        assert row["teacher_branches"] == [f"It is {number}."]
        assert row["teacher_structures"] == [structure]
        assert row["teacher_prompt"] == row["problem"]


def test_a_row_that_only_speaks_of_a_column_has_none(tmp_path: Path) -> None:
    """Its name as a text, with quotes and a colon, adds no column."""
    row = {**ours("4"), "teacher_reasoning": '{"teacher_prompt": "x", "teacher_branches": ["y"]}'}
    assert set(load(f"rlkd/jsonl:{write(tmp_path / 'rows.jsonl', [row])}").column_names) >= COLUMNS
    names = set(load(f"rlkd/jsonl:{tmp_path / 'rows.jsonl'}").column_names)
    assert not names & {"teacher_prompt", "teacher_branches", "teacher_structures"}


def test_a_row_with_wrong_branches_is_dropped(tmp_path: Path, swift_log: list[str]) -> None:
    rows = [ours("4"), {**ours("5"), "teacher_branches": ["It is 5.", ""]}]
    file = write(tmp_path / "rows.jsonl", rows)
    assert load(f"rlkd/jsonl:{file}")["solution"][:] == ["\\boxed{4}"]
    assert any(
        line.endswith(f"a branch of teacher_branches is empty: branch 2 of 2 ({file}:2)")
        for line in swift_log
    )


def test_swift_takes_the_teachers_prompt_from_a_row(tmp_path: Path, swift_log: list[str]) -> None:
    """ms-swift's sample of a row: the student's message stays, the teacher reads the prompt. GRPO
    is another training then, which is said."""
    from swift.rl_core.data import OnPolicySample

    rows = [{**ours("4"), "teacher_prompt": "With a solution."}, ours("5")]
    loaded = load(f"rlkd/jsonl:{write(tmp_path / 'rows.jsonl', rows)}")
    for row, read in zip(loaded, ("With a solution.", "What is 5?"), strict=True):
        sample = OnPolicySample.from_row(dict(row))
        assert sample.build_teacher_view()
        assert sample.teacher_messages is not None
        assert sample.teacher_messages[-1]["content"] == read
        assert sample.messages[-1]["content"] == row["problem"]
    assert any("has teacher_prompt: GRPO adds --teacher_kl_coef" in line for line in swift_log)
