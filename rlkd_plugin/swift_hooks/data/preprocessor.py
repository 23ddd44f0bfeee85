"""The preprocessor of our data sets, which ms-swift maps over their rows, in several processes.

A format's row function does the work. Here duplicate and rejected rows are dropped and counted, and
columns get a type: every row has the same columns, and a missing text becomes an empty one.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset
from pandas import DataFrame
from swift.dataset import RowPreprocessor
from swift.utils import get_logger
from swift.utils.logger import info_once

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.branches import BRANCHES, STRUCTURES
from rlkd_plugin.rlkd_data.rows.formats import Format
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.rows.teacher_prompts import PROMPT, last_question
from rlkd_plugin.swift_hooks.data.row_json import PLACE, ROW, decode_row, key_text

logger = get_logger()

_drops_file: Path | None = None
"""File to which the processes of a map write the reason for each row that they drop.

Not an attribute of the preprocessor: `datasets` hashes the preprocessor into the name of its cache,
which has to be the same on every rank.
"""


class RlkdRows(RowPreprocessor):
    """Runs a pure row function over a data set, drops the rows that it rejects, and counts them."""

    def __init__(self, name: str, form: Format) -> None:
        super().__init__()
        self.name = name
        self.form = form
        self.version = __version__  # another version, another cache
        self.passed: tuple[str, ...] = ()
        """Columns that only some rows have; the others get them too."""

    def preprocess(self, row: Row) -> Row | None:
        place = ""
        try:
            if PLACE in row:
                place = f" ({row[PLACE]})"
                row = decode_row(row)
            columns = complete_row(self.form.make_row(row), self.passed)
            return {name: _fill_empty(value) for name, value in columns.items()}
        except FormatError as error:
            if _drops_file:
                with _drops_file.open("a", encoding="utf-8") as drops:  # one short write, atomic
                    drops.write(f"{error}{place}".replace("\n", " ")[:1000] + "\n")
            else:
                reason = str(error).partition(":")[0]
                info_once(logger, f"rlkd: rows of {self.name} are dropped: {reason}")
            return None

    def __call__(self, dataset: Any, **kwargs: Any) -> Any:
        dataset = self.get_features_dataset(dataset)
        there = list(dataset.features)
        if PLACE not in there:
            if missing := [column for column in self.form.needs if column not in there]:
                raise RlkdError(
                    f"{self.name} has no column {', '.join(missing)}; it has {', '.join(there)}"
                )
            dataset = dataset.select_columns([name for name in self.form.columns if name in there])
        self.passed = _passed_columns(dataset, self.form)
        if PROMPT in self.passed:
            logger.info(
                f"rlkd: {self.name} has {PROMPT}: GRPO adds --teacher_kl_coef times the signal of "
                "a teacher that reads it (1.0 by default; 0 for plain GRPO)"
            )
        if not isinstance(dataset, Dataset):
            return super().__call__(dataset, **kwargs)  # streamed: dropped rows are not counted
        return self._map_and_count(dataset, **kwargs)

    def _map_and_count(self, dataset: Dataset, **kwargs: Any) -> Dataset:
        """Return the rows that are kept, and log how many are dropped for which reason."""
        global _drops_file
        first = _drop_duplicates(dataset, self.form.key)
        with TemporaryDirectory(prefix="rlkd_drops_") as folder:
            _drops_file = Path(folder) / "drops.txt"
            _drops_file.touch()
            try:
                kept = super().__call__(first, **kwargs)
                drops = _drops_file.read_text("utf-8").splitlines()
            finally:
                _drops_file = None
        assert isinstance(kept, Dataset)  # as the one that was given
        reasons = Counter(drop.partition(":")[0] for drop in drops)
        if len(first) < len(dataset):
            reasons[f"duplicate {self.form.key}"] += len(dataset) - len(first)
        if not drops and len(kept) < len(first):
            reasons["for reasons that were logged when the cache was made"] = len(first) - len(kept)
        logger.info(
            f"rlkd: {self.name}: {len(kept)} of {len(dataset)} rows kept"
            + "".join(f"; dropped {count}: {reason}" for reason, count in reasons.most_common())
        )
        for drop in {drop.partition(":")[0]: drop for drop in reversed(drops)}.values():
            logger.warning(f"rlkd: {self.name}: a dropped row: {drop}")
        if not len(kept):
            raise RlkdError(
                f"{self.name}: none of the {len(dataset)} rows can be used; the log has the reasons"
            )
        return kept


def complete_row(row: Row, names: Sequence[str]) -> Row:
    """Return a row with the columns that other rows of its data set have.

    Its one path is its branch. Its `teacher_prompt` is what its student reads: a teacher that reads
    the same adds nothing, while ms-swift ends at a batch in which one row has this column and
    another has none.
    """
    found = dict(row)
    if BRANCHES in names:
        branches = found.setdefault(BRANCHES, [row["teacher_reasoning"]])
        if STRUCTURES in names:
            unknown = [None] * (len(branches) - 1)
            found.setdefault(STRUCTURES, [row["teacher_structure"], *unknown])
    if PROMPT in names:
        found.setdefault(PROMPT, last_question(row["messages"]))
    return found


def _fill_empty(value: Any) -> Any:
    """Return a value with empty texts for missing ones: a column of nulls alone has no type."""
    if isinstance(value, list):
        return ["" if part is None else part for part in value]
    return "" if value is None else value


def _passed_columns(dataset: Any, form: Format) -> tuple[str, ...]:
    """Return the columns of `Format.passes` that a local copy has in some row.

    The rows of a streamed one are not known yet: each has its own columns.
    """
    if not isinstance(dataset, Dataset) or ROW not in dataset.column_names:
        return ()
    chunks = dataset.data.column(ROW).chunks
    return tuple(name for name in form.passes if any(_holds(chunk, name) for chunk in chunks))


def _holds(rows: Any, name: str) -> bool:
    """Return whether one of the rows, a chunk of an Arrow column of JSON, has a column."""
    options = pc.MatchSubstringOptions(key_text(name))
    found = pc.call_function("match_substring", [rows], options)
    return bool(pc.call_function("any", [found]).as_py())


def _drop_duplicates(dataset: Dataset, key: str | None) -> Dataset:
    """Return a data set without the rows whose key an earlier row has."""
    if key is None or key not in dataset.column_names:
        return dataset
    table = dataset.select_columns([key]).to_pandas()
    assert isinstance(table, DataFrame)  # not in batches
    keys = table[key]
    duplicate = keys.duplicated() & keys.notna() & (keys != "")
    if not duplicate.any():
        return dataset
    return dataset.select((~duplicate).to_numpy().nonzero()[0])
