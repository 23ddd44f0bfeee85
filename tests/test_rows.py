"""`--dataset rlkd/...` through ms-swift's own loader."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError

COLUMNS = {"messages", "solution", "problem", "domain", "teacher_reasoning", "teacher_structure"}


PROSE = {
    "problem": "Why?",
    "domain": "math",
    "teacher_reasoning": "Because.",
    "solution": "it has no answer in it",
}


def load(name: str) -> Any:
    """Load a data set as GRPO does, with all its columns."""
    from swift.dataset import load_dataset

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    return load_dataset(name, remove_unused_columns=False, seed=1)[0]


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


def test_a_gold_that_does_not_verify_is_dropped_and_counted(tmp_path: Path) -> None:
    """One of three golds is prose; the other two rows stay, in their order."""
    from swift.dataset.dataset_meta import DATASET_MAPPING

    file = write(tmp_path / "rows.jsonl", [ours("4"), PROSE, ours("7")])
    rows = load(f"rlkd/jsonl:{file}")
    assert [row["solution"] for row in rows] == ["\\boxed{4}", "\\boxed{7}"]
    dropped = DATASET_MAPPING["rlkd/jsonl"].preprocess_func.dropped
    assert dropped == {"gold answer does not verify against itself": 1}


def test_gsm8k_is_read_from_a_local_copy_with_a_row_limit(tmp_path: Path) -> None:
    """`rlkd/gsm8k:FILE#2` takes two rows of the file."""
    raw = [{"question": f"{n}?", "answer": f"{n}+1={n + 1}\n#### {n + 1}"} for n in range(5)]
    file = write(tmp_path / "gsm8k_copy.jsonl", raw)
    rows = load(f"rlkd/gsm8k:{file}#2")
    assert len(rows) == 2
    assert set(rows.column_names) >= COLUMNS


def test_a_missing_file_is_named() -> None:
    """The error has the data set's name and the file."""
    with pytest.raises(RlkdError, match=r"rlkd/jsonl:nowhere/rows\.jsonl: there is no such file"):
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

    from rlkd_plugin.swift_hooks.registry import register_all
    from rlkd_plugin.swift_hooks.rows import RlkdMeta

    register_all()
    for name in ("modelscope/gsm8k", "someone/gsm8k", "someone/demo", "x/jsonl"):
        assert not isinstance(DatasetSyntax.parse(name).get_dataset_meta(False), RlkdMeta)
