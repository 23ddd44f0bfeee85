"""The job behind `rlkd prepare`: other people's rows in, rows for training out.

Read, one pure row function, write. A row that cannot be used is refused with its place and
reason, and does not stop the job. A stopped job resumes.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.data_job import check_unchanged, source_files, source_stamps
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_lines import ANY
from rlkd_plugin.rlkd_data.jobs.worker_pool import WorkerPool
from rlkd_plugin.rlkd_data.jobs.worker_process import apply
from rlkd_plugin.rlkd_data.rows.formats import Format, format_of
from rlkd_plugin.rlkd_data.rows.golds import NormalisedGold
from rlkd_plugin.rlkd_data.rows.row_files import (
    PlacedRow,
    Row,
    check_columns,
    raw_rows,
)
from rlkd_plugin.rlkd_data.unfinished import HiddenFiles, Progress, UnfinishedRows
from rlkd_plugin.rlkd_files import check_place, claim, follow_link, json_line

SHOWN = 20
"""Maximum rows shown for each reason; a file in the wrong format has millions."""
BLOCK = 500
"""Rows that are processed together; after each block the progress is saved."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A row of ours as a line.

    Attributes:
        line: the row as JSON.
        without_solution: whether it has no final answer.
        normalised: whether its gold answer is in another notation than the source's.
    """

    line: bytes
    without_solution: bool
    normalised: bool


Encoded = Sequence[EncodedRow | FormatError]
"""The rows of a block, or why they are refused."""


def prepare(
    name: str,
    source: Path,
    out: Path,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda rows: None,
    *,
    branches: int = 1,
    teacher_prompt: bool = False,
) -> Progress:
    """Turn a local copy in a known format into rows for `--dataset rlkd/jsonl:OUT`.

    The rows of `gsrm-sft` stay R-S pairs, for `--dataset rlkd/gsrm-sft:OUT`.

    `out` is whole or absent: the rows go to a hidden file beside it, which replaces it at the end.
    After a stop the same call resumes after the last saved row, as long as the source is the same.

    Args:
        name: one of `FORMATS`.
        source: a file or a folder, in any form that `rows.row_files` reads.
        out: the file to write, JSON lines, in the order of the source.
        workers: processes that make rows; checking gold answers takes nearly all the time.
        on_progress: called with the number of rows read, now and then.
        branches: maximum texts of `teacher_branches`; 1 for rows without this column.
        teacher_prompt: whether to make `teacher_prompt` from the teacher's path.

    Returns:
        The final counts.

    Raises:
        RlkdError: before any work if the format is unknown or cannot have such a column, a path is
            wrong, a column is missing, `out` is not of this format and source, or another job
            writes it; after it if no row could be used.
    """
    form = format_of(name, branches, teacher_prompt)
    files = _check(form, source, out)
    hidden = HiddenFiles.of(follow_link(out))  # what OUT links to is replaced, not the link
    hidden.check_none_is(files)
    place = os.fsencode(source.resolve()).decode("utf-8", "backslashreplace")
    more = {"branches": branches} if branches > 1 else {}
    more |= {"teacher_prompt": True} if teacher_prompt else {}
    maker = Maker(name, {"format": name, **more})
    result = Result("rlkd prepare", out, maker, {"": ANY}, source=place)
    with (
        own(result) as owned,
        _open_map(workers) as encode,
        claim(hidden.part, out) as lines,
    ):
        rows, stamps = UnfinishedRows(hidden, lines), source_stamps(files)
        places = [[file, *stamp] for file, stamp in stamps.items()]
        progress = rows.load([name, __version__, places, *([more] if more else [])])
        if progress.read:
            logger.warning("resuming after %d rows", progress.read)
        on_progress(progress.read)
        todo = islice(raw_rows(files, form.columns, form.key), progress.read, None)
        while block := list(islice(todo, BLOCK)):
            rows.append(_count_block(progress, block, encode(form, block)), progress)
            on_progress(progress.read)
        _log_the_rest(progress)
        progress.account.check()
        rows.check(progress.written)
        check_unchanged(source, stamps)
        if progress.kept:
            owned.publish(hidden.part)
        else:
            hidden.part.unlink()
        hidden.saved.unlink(missing_ok=True)
    if not progress.kept:
        reasons = ", ".join(f"{count} x {why}" for why, count in progress.refused.items())
        raise RlkdError(
            f"{source} has no row in the format {name} ({reasons or 'it is empty'}); "
            f"{out} was not written"
        )
    return progress


def _count_block(progress: Progress, block: Sequence[PlacedRow], encoded: Encoded) -> bytes:
    """Count the rows of a block, and return the lines of those that are kept."""
    lines = []
    for (place, _), row in zip(block, encoded, strict=True):
        progress.read += 1
        if isinstance(row, FormatError):
            reason = str(row).partition(":")[0]
            progress.refused[reason] += 1
            if progress.refused[reason] <= SHOWN:
                logger.warning("%s: %s", place, row)
            continue
        progress.written += len(row.line)
        progress.kept += 1
        progress.without_solution += row.without_solution
        progress.normalised += row.normalised
        lines.append(row.line)
    return b"".join(lines)


def _log_the_rest(progress: Progress) -> None:
    for reason, count in progress.refused.items():
        if count > SHOWN:
            logger.warning("... and %d more: %s", count - SHOWN, reason)


def _encode_row(form: Format, raw: Row | FormatError) -> EncodedRow | FormatError:
    if isinstance(raw, FormatError):
        return raw
    try:
        row = form.make_row(raw)
        solution = row.get("solution")
        return EncodedRow(json_line(row), solution == "", isinstance(solution, NormalisedGold))
    except FormatError as error:
        return error


@contextmanager
def _open_map(workers: int) -> Iterator[Callable[[Format, Sequence[PlacedRow]], Encoded]]:
    """Yield a function that encodes the rows of a block, in this process or in workers."""
    if workers <= 1:
        yield lambda form, block: apply(partial(_encode_row, form), [raw for _, raw in block])
        return
    with WorkerPool(workers, [__name__]) as pool:

        def encode(form: Format, block: Sequence[PlacedRow]) -> Encoded:
            what = f"{block[0][0]} to {block[-1][0]}"
            return pool.map(partial(_encode_row, form), [raw for _, raw in block], what)

        yield encode


def _check(form: Format, source: Path, out: Path) -> list[Path]:
    check_place(out)
    files = source_files(source, out)
    for file in files:
        check_columns(file, form.needs)
    return files
