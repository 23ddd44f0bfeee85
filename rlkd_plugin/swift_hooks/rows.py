"""Data sets for ms-swift's `--dataset rlkd/NAME`, or `rlkd/NAME:FILE` from a local copy.

They are registered under our names alone: ms-swift's own entries for the same hub ids, and the
way it matches other files by their name, stay as they are.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from swift.dataset import DatasetMeta, RowPreprocessor, SubsetDataset, register_dataset
from swift.dataset.dataset_syntax import DatasetSyntax
from swift.dataset.loader import DatasetLoader
from swift.utils import get_logger

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.row_format import Row, RowFunction, grpo_row, gsm8k_row

DEMO_PROBLEMS = Path(__file__).parents[1] / "rlkd_data" / "samples" / "rlkd_demo_problems.jsonl"

logger = get_logger()


class RlkdRows(RowPreprocessor):
    """Runs a pure row function over a data set, drops what it refuses, and counts by reason."""

    def __init__(self, name: str, make_row: RowFunction) -> None:
        super().__init__()
        self.name = name
        self.make_row = make_row
        self.dropped: Counter[str] = Counter()

    def preprocess(self, row: dict[str, Any]) -> Row | None:
        try:
            return self.make_row(row)
        except FormatError as error:
            reason = str(error).partition(":")[0]
            self.dropped[reason] += 1
            if self.dropped[reason] == 1:
                logger.warning(f"rlkd: a row of {self.name} is dropped, {error}")
            return None

    def __call__(self, dataset: Any, **kwargs: Any) -> Any:
        self.dropped.clear()
        if kwargs.get("num_proc") == 1:
            kwargs["num_proc"] = None  # `datasets` starts a worker even for 1, and it would count
        kept = super().__call__(dataset, **kwargs)
        if hasattr(kept, "__len__"):
            # with --dataset_num_proc above 1 the counts by reason stay with the workers
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            logger.info(
                f"rlkd: {self.name}: {len(kept)} of {len(dataset)} rows kept"
                + (f"; dropped: {reasons}" if reasons else "")
            )
            if not len(kept):
                raise RlkdError(f"{self.name}: none of the {len(dataset)} rows can be used")
        return kept


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
            if not Path(file).expanduser().is_file():
                raise RlkdError(f"--dataset {name}:{file}: there is no such file")
            dataset_syntax.dataset = str(Path(file).expanduser().resolve())
            return self._load_dataset_path(dataset_syntax.dataset, dataset_meta)
        hub_id = dataset_meta.hub_ids[bool(use_hf)]
        if not hub_id:
            raise RlkdError(f"--dataset {name} needs a file: {name}:rows.jsonl")
        dataset_syntax.dataset, dataset_syntax.subsets = hub_id, []
        return super().load(dataset_syntax, dataset_meta, use_hf=use_hf)


class RlkdMeta(DatasetMeta):
    """A data set of ours: `hub_ids` are its ids on ModelScope and on Hugging Face."""

    def __init__(
        self,
        name: str,
        make_row: RowFunction,
        hub_ids: tuple[str, str] = ("", ""),
        subset: str = "default",
        file: Path | None = None,
    ) -> None:
        super().__init__(
            dataset_name=name,
            subsets=[SubsetDataset(subset=subset)],
            preprocess_func=RlkdRows(name, make_row),
            loader=RlkdLoader,
        )
        self.hub_ids = hub_ids
        self.file = file


def register_rows() -> None:
    """Register the data sets; doing so again replaces them by the same."""
    for meta in (
        RlkdMeta("rlkd/gsm8k", gsm8k_row, ("modelscope/gsm8k", "openai/gsm8k"), subset="main"),
        RlkdMeta("rlkd/jsonl", grpo_row),
        RlkdMeta("rlkd/demo", grpo_row, file=DEMO_PROBLEMS),
    ):
        register_dataset(meta, exist_ok=True)
