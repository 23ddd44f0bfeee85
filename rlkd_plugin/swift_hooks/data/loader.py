"""Data sets for ms-swift's `--dataset rlkd/NAME`, or `rlkd/NAME:FILE` from a local copy.

They are registered under our names alone: ms-swift's own entries for the same hub ids, and its
matching of other files by their name, do not change. A local copy is read as `rlkd prepare` reads
it, row by row, so that both keep the same rows of any file. Rows with several teacher paths keep
at most `RLKD_BRANCHES` of them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from datasets.exceptions import DatasetGenerationError
from modelscope.hub.utils.utils import get_cache_dir
from swift.dataset import DatasetMeta, RowPreprocessor, SubsetDataset, register_dataset
from swift.dataset.dataset_syntax import DatasetSyntax
from swift.dataset.loader import DatasetLoader
from swift.utils import get_logger, safe_ddp_context

from rlkd_plugin import __version__, rlkd_data
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.rlkd_data.rows.formats import FORMATS, Format
from rlkd_plugin.rlkd_data.rows.row_files import check_columns, row_files, unread_files
from rlkd_plugin.swift_hooks.data.preprocessor import RlkdRows
from rlkd_plugin.swift_hooks.data.row_json import FEATURES, encode_rows

logger = get_logger()

SAMPLES = Path(rlkd_data.__file__).with_name("samples")
"""Folder of the problems and pairs that the package carries."""


class RlkdLoader(DatasetLoader):
    """Loads a hub's data set, or the local file named after the colon."""

    def load(
        self,
        dataset_syntax: DatasetSyntax | None = None,
        dataset_meta: DatasetMeta | None = None,
        *,
        use_hf: bool | None = None,
    ) -> Any:
        assert dataset_syntax is not None and isinstance(dataset_meta, RlkdMeta)  # always given
        dataset_meta = dataset_meta.by_settings()
        file = "/".join(dataset_syntax.subsets)  # ms-swift splits the text after the colon
        if not file and dataset_meta.file:
            file = str(dataset_meta.file)
        if file:
            source = Path(file).expanduser()
            dataset_syntax.dataset = str(source.absolute())
            return self._load_files(source, dataset_meta)
        hub_id = dataset_meta.form.hub_ids[bool(use_hf)]
        if not hub_id:
            name = dataset_meta.dataset_name
            raise RlkdError(f"--dataset {name} needs a file: {name}:rows.jsonl")
        dataset_syntax.dataset, dataset_syntax.subsets = hub_id, []
        return super().load(dataset_syntax, dataset_meta, use_hf=use_hf)

    def _load_files(self, source: Path, meta: "RlkdMeta") -> Any:
        """Load a file in any format that `rows.row_files` reads, or a folder of them."""
        if self.columns:
            raise RlkdError(
                f"--columns does not apply to {meta.dataset_name}:FILE; rename the columns in the "
                "file"
            )
        try:
            files = row_files(source)
            for file in files:
                check_columns(file, meta.form.needs)
            if unread := unread_files(source):
                logger.warning("rlkd: not read of %s: %s", source, ", ".join(unread))
            dataset = self._read(files, meta.form)
        except RlkdError as error:
            raise RlkdError(f"--dataset {meta.dataset_name}:{source}: {error}") from None
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

    def _read(self, files: Sequence[Path], form: Format) -> Dataset | IterableDataset:
        """Return the rows of files as `datasets` holds them.

        Raises:
            RlkdError: where the rest of a file cannot be read; streamed rows raise it later.
        """
        # a tuple: `datasets` would hand a list to the generator file by file
        stamps = tuple((str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
        read = {"files": stamps, "form": form, "version": __version__}
        if self.streaming:
            return IterableDataset.from_generator(encode_rows, features=FEATURES, gen_kwargs=read)
        try:
            with safe_ddp_context(None, True):  # the first process writes the cache of the others
                return Dataset.from_generator(
                    encode_rows,
                    features=FEATURES,
                    cache_dir=os.path.join(get_cache_dir(), "datasets"),
                    gen_kwargs=read,
                )
        except DatasetGenerationError as error:
            if isinstance(error.__cause__, RlkdError):
                raise error.__cause__ from None
            raise


class RlkdMeta(DatasetMeta):
    """A data set of ours: its format, and its file if the package carries it."""

    def __init__(self, name: str, form: Format, file: Path | None = None) -> None:
        super().__init__(
            dataset_name=name,
            subsets=[SubsetDataset(subset=form.subset)],
            preprocess_func=RlkdRows(name, form),
            loader=RlkdLoader,  # pyright: ignore[reportArgumentType]  # the class itself, as ms-swift's own default
        )
        self.form = form
        self.file = file

    def by_settings(self) -> "RlkdMeta":
        """Return the data set with the branches that the settings ask for.

        They are read when it is loaded: a YAML's `ENV:` block may hold them.

        Raises:
            RlkdError: if a setting is wrong.
        """
        if self.form.paths is None:
            return self
        form = self.form.with_branches(load_settings().branches)
        name = self.dataset_name
        assert name is not None  # given when it was registered
        return RlkdMeta(name, form, self.file)


def register_rows() -> None:
    """Register the data sets; a second call replaces them by the same."""
    for name, form in FORMATS.items():
        register_dataset(RlkdMeta(f"rlkd/{name}", form), exist_ok=True)
    for name, form, file in (
        ("rlkd/demo", "jsonl", "rlkd_demo_problems.jsonl"),
        ("rlkd/demo-stories", "jsonl", "rlkd_demo_stories.jsonl"),
        ("rlkd/demo-pairs", "gsrm-sft", "rlkd_demo_pairs.jsonl"),
    ):
        register_dataset(RlkdMeta(name, FORMATS[form], file=SAMPLES / file), exist_ok=True)
