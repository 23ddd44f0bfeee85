"""The source of `rlkd score`: its rows, all of one format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.data_job import Stamps, source_stamps
from rlkd_plugin.rlkd_data.rows.row_files import raw_rows
from rlkd_plugin.rlkd_eval.scores.completion_rows import Completion, Form, form_of, read_row
from rlkd_plugin.rlkd_eval.scores.evaluated_problems import evaluated_problems

COLUMNS_SHOWN = 8
"""Names of columns that a message shows."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of the source.

    Attributes:
        place: file and line, for messages.
        completions: of the row; for a row that cannot be read, the reason alone.
        is_repeated: whether it is a table that ms-swift wrote twice, as at a training's end.
    """

    place: str
    completions: Sequence[Completion | FormatError]
    is_repeated: bool = False


class CompletionSource:
    """The files of a source.

    Args:
        source: the path as the user gave it.
        files: its files.

    Attributes:
        form: of every row.
        stamps: show whether a file has changed since.

    Raises:
        RlkdError: if it has no completion.
    """

    def __init__(self, source: Path, files: Sequence[Path]) -> None:
        self.source = source
        self.files = files
        self.stamps: Stamps = source_stamps(files)
        self._first, self.form = self._find_form()

    def rows(self) -> Iterator[SourceRow]:
        """Yield every row.

        Raises:
            RlkdError: at a row of another format.
        """
        for file in self.files:
            problems = evaluated_problems(file) if self.form is Form.EVALUATION else {}
            before: Mapping[str, Any] | None = None
            for place, raw in raw_rows([file]):
                if isinstance(raw, FormatError):
                    yield SourceRow(place, [raw])
                    continue
                table = _table(raw) if self.form is Form.TRAINING else None
                is_repeated = table is not None and table == before
                before = table
                yield SourceRow(place, self._read(place, raw, problems), is_repeated)

    def _read(
        self, place: str, raw: Mapping[str, Any], problems: Mapping[str, str]
    ) -> list[Completion | FormatError]:
        form = form_of(raw)
        if form is None:
            return [FormatError(f"no completion: {_columns(raw)}")]
        if form is not self.form:
            raise RlkdError(
                f"{self.source} has rows of two formats: {self._first} is {self.form.value}, "
                f"{place} is {form.value}; score each format by itself, into its own OUT"
            )
        try:
            return read_row(form, raw, problems)
        except FormatError as error:
            return [error]

    def _find_form(self) -> tuple[str, Form]:
        rows, last = 0, ""
        for place, raw in raw_rows(self.files):
            rows += 1
            if isinstance(raw, FormatError):
                last = str(raw)
            elif form := form_of(raw):
                return place, form
            else:
                last = f"its columns are {_columns(raw)}"
        if not rows:
            raise RlkdError(f"{self.source} is empty: there is no completion to score")
        raise RlkdError(
            f"{self.source} has no completion in {rows:,} rows (the last one: {last}); a row needs "
            "completion, completions or response, or is a line of ms-swift's completions.jsonl"
        )


def _table(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the columns that identify a step's table; None for a row that is not a table."""
    if not isinstance(raw.get("prompt"), list):
        return None
    return {name: raw.get(name) for name in ("step", "gen_step", "prompt", "completion")}


def _columns(raw: Mapping[str, Any]) -> str:
    names = [*raw]
    more = f" and {len(names) - COLUMNS_SHOWN} more" if len(names) > COLUMNS_SHOWN else ""
    return f"{', '.join(names[:COLUMNS_SHOWN]) or 'none'}{more}"
