"""Data sets for ms-swift's `--dataset rlkd/NAME`, or `rlkd/NAME:FILE` from a local copy.

They are registered under our names alone: ms-swift's own entries for the same hub ids, and the
way it matches other files by their name, stay as they are. A local copy is read as `rlkd prepare`
reads it, row by row, so that both keep the same rows of any file.
"""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, IterableDataset
from modelscope.hub.utils.utils import get_cache_dir
from swift.dataset import DatasetMeta, RowPreprocessor, SubsetDataset, register_dataset
from swift.dataset.dataset_syntax import DatasetSyntax
from swift.dataset.loader import DatasetLoader
from swift.utils import get_logger, safe_ddp_context

from rlkd_plugin import __version__, rlkd_data
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.formats import FORMATS, Format
from rlkd_plugin.rlkd_data.rows.row_files import check_columns, row_files
from rlkd_plugin.rlkd_data.rows.row_format import Row
from rlkd_plugin.swift_hooks.data.carried_rows import CARRIED, PLACE, carried_rows, opened_row

SAMPLES = Path(rlkd_data.__file__).with_name("samples")

logger = get_logger()

_drops_file: Path | None = None
"""Where the processes of a map write why they drop a row, a line each.

It is no attribute of the preprocessor: that is part of the name under which `datasets` keeps the
result, which has to be the same on every rank.
"""


class RlkdRows(RowPreprocessor):
    """Runs a pure row function over a data set, drops what it refuses, and counts by reason."""

    def __init__(self, name: str, form: Format) -> None:
        super().__init__()
        self.name = name
        self.form = form
        self.version = __version__  # of what may be kept in a cache

    def preprocess(self, row: dict[str, Any]) -> Row | None:
        place = ""
        try:
            if PLACE in row:
                place = f" ({row[PLACE]})"
                row = opened_row(row)
            # a text that is missing is empty: a column of nulls alone has no type
            made = self.form.make_row(row)
            return {name: "" if value is None else value for name, value in made.items()}
        except FormatError as error:
            if _drops_file:
                with _drops_file.open("a", encoding="utf-8") as drops:  # one short write, atomic
                    drops.write(f"{error}{place}".replace("\n", " ")[:1000] + "\n")
            else:
                reason = str(error).partition(":")[0]
                logger.info_once(f"rlkd: rows of {self.name} are dropped: {reason}")
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
        if not isinstance(dataset, Dataset):
            return super().__call__(dataset, **kwargs)  # streamed: the rows are dropped unseen
        return self._counted(dataset, **kwargs)

    def _counted(self, dataset: Dataset, **kwargs: Any) -> Dataset:
        global _drops_file
        first = _first_of_each(dataset, self.form.key)
        with TemporaryDirectory(prefix="rlkd_drops_") as folder:
            _drops_file = Path(folder) / "drops.txt"
            _drops_file.touch()
            try:
                kept = super().__call__(first, **kwargs)
                drops = _drops_file.read_text("utf-8").splitlines()
            finally:
                _drops_file = None
        reasons = Counter(drop.partition(":")[0] for drop in drops)
        if len(first) < len(dataset):
            reasons[f"{self.form.key} seen before"] += len(dataset) - len(first)
        if not drops and len(kept) < len(first):
            reasons["for reasons that were logged when the cache was made"] = len(first) - len(kept)
        logger.info(
            f"rlkd: {self.name}: {len(kept)} of {len(dataset)} rows kept"
            + "".join(f"; dropped {count}: {reason}" for reason, count in reasons.most_common())
        )
        for drop in {drop.partition(":")[0]: drop for drop in reversed(drops)}.values():
            logger.warning(f"rlkd: {self.name}: a dropped row: {drop}")
        if not len(kept):
            raise RlkdError(f"{self.name}: none of the {len(dataset)} rows can be used")
        return kept


def _first_of_each(dataset: Dataset, key: str | None) -> Dataset:
    """Leave out the rows whose key an earlier row has."""
    if key is None or key not in dataset.column_names:
        return dataset
    keys = dataset.select_columns([key]).to_pandas()[key]
    again = keys.duplicated() & keys.notna() & (keys != "")
    return dataset.select((~again).to_numpy().nonzero()[0]) if again.any() else dataset


class RlkdLoader(DatasetLoader):
    """Loads a hub's data set, or the local file named behind the colon."""

    def load(
        self,
        dataset_syntax: DatasetSyntax | None = None,
        dataset_meta: "RlkdMeta | None" = None,
        *,
        use_hf: bool | None = None,
    ) -> Any:
        name = dataset_meta.dataset_name
        file = "/".join(dataset_syntax.subsets)  # ms-swift splits what stands behind the colon
        if not file and dataset_meta.file:
            file = str(dataset_meta.file)
        if file:
            source = Path(file).expanduser()
            dataset_syntax.dataset = str(source.absolute())
            return self._load_files(source, dataset_meta)
        hub_id = dataset_meta.form.hub_ids[bool(use_hf)]
        if not hub_id:
            raise RlkdError(f"--dataset {name} needs a file: {name}:rows.jsonl")
        dataset_syntax.dataset, dataset_syntax.subsets = hub_id, []
        return super().load(dataset_syntax, dataset_meta, use_hf=use_hf)

    def _load_files(self, source: Path, meta: "RlkdMeta") -> Any:
        """Load a file of JSON lines or Parquet, or a folder of them."""
        if self.columns:
            raise RlkdError(
                f"--columns does not apply to {meta.dataset_name}:FILE: rename them there"
            )
        try:
            files = row_files(source)
            for file in files:
                check_columns(file, meta.form.needs)
        except RlkdError as error:
            raise RlkdError(f"--dataset {meta.dataset_name}:{source}: {error}") from None
        # no list, which `datasets` would hand to the generator file by file
        stamps = tuple((str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
        given = {"gen_kwargs": {"files": stamps, "form": meta.form}, "features": CARRIED}
        if self.streaming:
            dataset = IterableDataset.from_generator(carried_rows, **given)
        else:
            with safe_ddp_context(None, True):  # the first process writes the cache of the others
                cache = os.path.join(get_cache_dir(), "datasets")
                dataset = Dataset.from_generator(carried_rows, cache_dir=cache, **given)
        dataset = meta.preprocess_func(
            dataset,
            num_proc=self.num_proc,
            load_from_cache_file=self.load_from_cache_file,
            strict=self.strict,
        )
        return (
            RowPreprocessor.remove_useless_columns(dataset)
            if self.remove_unused_columns
            else dataset
        )


class RlkdMeta(DatasetMeta):
    """A data set of ours."""

    def __init__(self, name: str, form: Format, file: Path | None = None) -> None:
        super().__init__(
            dataset_name=name,
            subsets=[SubsetDataset(subset=form.subset)],
            preprocess_func=RlkdRows(name, form),
            loader=RlkdLoader,
        )
        self.form = form
        self.file = file


def register_rows() -> None:
    """Register the data sets; doing so again replaces them by the same."""
    for name, form in FORMATS.items():
        register_dataset(RlkdMeta(f"rlkd/{name}", form), exist_ok=True)
    for name, form, file in (
        ("rlkd/demo", "jsonl", "rlkd_demo_problems.jsonl"),
        ("rlkd/demo-pairs", "gsrm-sft", "rlkd_demo_pairs.jsonl"),
    ):
        register_dataset(RlkdMeta(name, FORMATS[form], file=SAMPLES / file), exist_ok=True)
