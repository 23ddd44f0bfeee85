"""Data sets for ms-swift's `--dataset rlkd/NAME`, or `rlkd/NAME:FILE` from a local copy.

They are registered under our names alone: ms-swift's own entries for the same hub ids, and the
way it matches other files by their name, stay as they are.
"""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, config
from datasets.exceptions import DatasetGenerationError
from swift.dataset import DatasetMeta, RowPreprocessor, SubsetDataset, register_dataset
from swift.dataset.dataset_syntax import DatasetSyntax
from swift.dataset.loader import DatasetLoader
from swift.utils import get_logger

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.formats import FORMATS, Format
from rlkd_plugin.rlkd_data.row_files import check_columns, row_files
from rlkd_plugin.rlkd_data.row_format import Row

DEMO_PROBLEMS = Path(__file__).parents[1] / "rlkd_data" / "samples" / "rlkd_demo_problems.jsonl"

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

    def preprocess(self, row: dict[str, Any]) -> Row | None:
        try:
            return self.form.make_row(row)
        except FormatError as error:
            if _drops_file:
                with _drops_file.open("a", encoding="utf-8") as drops:  # one short write, atomic
                    drops.write(f"{error}".replace("\n", " ")[:1000] + "\n")
            else:
                logger.info_once(f"rlkd: rows of {self.name} are dropped, the first: {error}")
            return None

    def __call__(self, dataset: Any, **kwargs: Any) -> Any:
        dataset = self.get_features_dataset(dataset)
        there = list(dataset.features)
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
            reasons[f"{self.form.key} seen before"] = len(dataset) - len(first)
        logger.info(
            f"rlkd: {self.name}: {len(kept)} of {len(dataset)} rows kept"
            + "".join(f"; dropped {count}: {reason}" for reason, count in reasons.most_common())
        )
        for drop in {drop.partition(":")[0]: drop for drop in drops}.values():
            logger.warning(f"rlkd: {self.name}: a dropped row: {drop}")
        if not len(kept):
            raise RlkdError(f"{self.name}: none of the {len(dataset)} rows can be used")
        return kept


def _first_of_each(dataset: Dataset, key: str | None) -> Dataset:
    """Leave out the rows whose key an earlier row has."""
    if key is None or key not in dataset.column_names:
        return dataset
    keys = dataset.select_columns([key]).to_pandas()[key]
    again = keys.duplicated() & keys.notna()
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
            return self._load_files(Path(file).expanduser(), dataset_syntax, dataset_meta)
        hub_id = dataset_meta.form.hub_ids[bool(use_hf)]
        if not hub_id:
            raise RlkdError(f"--dataset {name} needs a file: {name}:rows.jsonl")
        dataset_syntax.dataset, dataset_syntax.subsets = hub_id, []
        return super().load(dataset_syntax, dataset_meta, use_hf=use_hf)

    def _load_files(self, source: Path, syntax: DatasetSyntax, meta: "RlkdMeta") -> Any:
        """Load a file of JSON lines or Parquet, or a folder of one kind of them."""
        try:
            files = [file.resolve() for file in row_files(source)]
            for file in files:
                check_columns(file, meta.form.needs)
        except RlkdError as error:
            raise RlkdError(f"--dataset {meta.dataset_name}:{source}: {error}") from None
        kinds = {file.suffix for file in files}
        if len(kinds) > 1:
            raise RlkdError(f"--dataset {meta.dataset_name}:{source}: several kinds of files there")
        syntax.dataset = str(source.resolve())
        pattern = files[0] if source.is_file() else source.resolve() / f"*{kinds.pop()}"
        count_downloads = config.HF_UPDATE_DOWNLOAD_COUNTS
        config.HF_UPDATE_DOWNLOAD_COUNTS = False  # `datasets` reports the use of a file to a server
        try:
            return self._load_dataset_path(str(pattern), meta)
        except DatasetGenerationError as error:
            name = meta.dataset_name.removeprefix("rlkd/")
            raise RlkdError(
                f"--dataset {meta.dataset_name}:{source} cannot be read: {error.__cause__}; "
                f"`rlkd prepare {name} {source} OUT` leaves out the bad rows and says which"
            ) from error
        finally:
            config.HF_UPDATE_DOWNLOAD_COUNTS = count_downloads


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
    demo = RlkdMeta("rlkd/demo", FORMATS["jsonl"], file=DEMO_PROBLEMS)
    register_dataset(demo, exist_ok=True)
