"""The job behind `rlkd subset`: the rows that are least similar to a test set.

It is the third setting of section 4.1: training data with a domain shift from the test data. A
row's similarity is the largest cosine of its problem's embedding to that of any test problem. A
file next to the result keeps the similarities, so a stopped job can resume.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, source_files
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.result_lines import ANY, Shape, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.rows.row_fields import text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_data.similarity import (
    ItemVectors,
    Nearest,
    embed_items,
    in_batches,
    nearest_items,
)
from rlkd_plugin.rlkd_data.subset_report import NEAR, Similar, SubsetReport
from rlkd_plugin.rlkd_files import follow_link, json_line

SHOWN = 10
"""Rows shown at each end."""

SIMILARITIES = ".similarities.jsonl"
"""Suffix of the file with the measured similarities."""

SHAPES: Mapping[str, Shape] = {
    "": ANY,  # rows of the source, as they stand
    SIMILARITIES: {"id": int, "similarity": float, "nearest": int, "tests": int},
}

_NO_WORD = re.compile(r"[\W_]+")


logger = logging.getLogger(__name__)

Known = dict[int, Nearest]
"""The measured similarity of each problem, by the problem's hash."""


async def write_subset(
    job: DataJob, tests: Path, count: int, embedder: Embedder, report: SubsetReport
) -> None:
    """Write the `count` rows of a source that are least similar to any test item.

    The chosen rows are written unchanged, in the source's order; of rows with the same problem the
    first counts. Rows of equal similarity are ordered by the problem's hash: the same every time.

    Args:
        job: from rows with `problem`, or `question`, to JSON lines; `OUT.similarities.jsonl` keeps
            the similarities.
        tests: the test set: a file or a folder of such rows.
        count: rows to write.
        embedder: embeds the problems; similarities of another embedder do not count.
        report: counts while the job runs; also valid after an error.

    Raises:
        RlkdError: if a file is wrong, the test set is empty, there are too few rows, or `out` is
            not this job's or of another embedder.
        EndpointError: if the embedding server fails.
    """
    files = source_files(job.source, job.out)
    items = _read_items(tests, job.out)
    present = _count_problems(files, report)
    if count > len(present):
        raise RlkdError(
            f"{job.source} has {len(present)} different problems, fewer than {count}: give a "
            "smaller --count"
        )
    result = Result(
        "rlkd subset", job.out, Maker(embedder.name, embedder.facts), SHAPES, may_mix=True
    )
    with own(result, mix=job.mix) as owned, owned.open(SIMILARITIES) as measured:
        targets = await embed_items(items, embedder)
        known = _read_known(measured, targets, present)
        report.measured_before = len(known)

        async def work(batch: list[tuple[int, str]]) -> list[Nearest | None]:
            return await nearest_items([text for _, text in batch], targets, embedder)

        def write(batch: list[tuple[int, str]], found: list[Nearest | None]) -> None:
            for (key, _), nearest in zip(batch, found, strict=True):
                if nearest is None:
                    report.rejected += 1
                    continue
                similarity, item = nearest
                line = {"id": key, "similarity": similarity, "nearest": item, "tests": targets.id}
                measured.append(line)
                known[key] = nearest
                report.measured += 1

        await run_job(in_batches(_problems_to_measure(files, known)), work, write, job.concurrency)
        report.account.check()
        if count > len(known):
            raise RlkdError(
                f"only {len(known)} problems have an embedding, fewer than {count}: give a "
                "smaller --count"
            )
        real = follow_link(job.out)  # the part is on its file system
        part = real.with_name(f".{real.name}.{os.getpid()}.part")
        try:
            _write_chosen(job, part, count, known, items, report)
            owned.publish(part)
        finally:
            part.unlink(missing_ok=True)


def _read_known(measured: ResultFile, targets: ItemVectors, present: set[int]) -> Known:
    """Return the similarities of earlier runs, for problems that the source has."""
    return {
        row["id"]: (row["similarity"], row["nearest"])
        for row in measured.rows()
        if row["tests"] == targets.id
        and row["id"] in present
        and -1 <= row["similarity"] <= 1
        and 0 <= row["nearest"] < len(targets.items)
    }


def _read_items(tests: Path, out: Path) -> list[str]:
    """Return the problems of the test set.

    Raises:
        RlkdError: if it has none, or would be overwritten.
    """
    items, refused = [], Counter[str]()
    for _, row in raw_rows(source_files(tests, out)):
        try:
            items.append(_problem_of(row))
        except FormatError as error:
            refused[_reason(error)] += 1
    if not items:
        raise RlkdError(
            f"{tests} has no row with a problem: it needs the column problem or question"
        )
    if refused:
        reasons = ", ".join(f"{count:,} x {reason}" for reason, count in refused.items())
        logger.warning(
            "%s: %d rows are not used as test items: %s", tests, refused.total(), reasons
        )
    return items


def _count_problems(files: Sequence[Path], report: SubsetReport) -> set[int]:
    """Return the hashes of the problems, and count rows."""
    present: set[int] = set()
    for _, row in raw_rows(files, ("problem", "question")):
        report.rows += 1
        try:
            present.add(identity(_problem_of(row)))
        except FormatError as error:
            report.refused[_reason(error)] += 1
        report.problems = len(present)
    return present


def _problems_to_measure(files: Sequence[Path], known: Known) -> Iterator[tuple[int, str]]:
    """Yield the problems that are not measured yet, each once, with their hashes."""
    found = set(known)
    for text, _ in _problems(files, ("problem", "question")):
        if (key := identity(text)) not in found:
            found.add(key)
            yield key, text


def _write_chosen(
    job: DataJob, part: Path, count: int, known: Known, items: Sequence[str], report: SubsetReport
) -> None:
    ranked = sorted(known, key=lambda key: (known[key][0], key))
    chosen = set(ranked[:count])
    least, most = ranked[:SHOWN], ranked[-SHOWN:][::-1]
    plain_items = {_plain(item): item for item in items}
    ends: dict[int, Similar] = {}
    found: set[int] = set()
    with part.open("wb") as lines:
        for text, row in _problems(row_files(job.source)):
            key = identity(text)
            if key in found or key not in known:
                continue
            found.add(key)
            if key in chosen:
                lines.write(json_line(row, escape=True))
                report.written += 1
            similarity, item = known[key]
            pair = Similar(similarity, text, items[item])
            if (same := plain_items.get(_plain(text))) is not None:
                report.exact.append(Similar(similarity, text, same))
            elif similarity >= NEAR:
                report.near.append(pair)
            if key in least or key in most:
                ends[key] = pair
        if report.written < count:
            raise RlkdError(
                f"{job.source} was changed while the job ran: only {report.written} of {count} "
                "chosen rows are still in it. Give the same command again"
            )
    report.least = [ends[key] for key in least]
    report.most = [ends[key] for key in most]


def _problems(
    files: Sequence[Path], columns: Sequence[str] | None = None
) -> Iterator[tuple[str, Row]]:
    """Yield problem and row, for each row that has a problem."""
    for _, row in raw_rows(files, columns):
        try:
            text = _problem_of(row)
        except FormatError:
            continue  # counted by `_count_problems`
        assert not isinstance(row, FormatError)  # it has a problem
        yield text, row


def _problem_of(row: Row | FormatError) -> str:
    """Return a row's problem, which GSM8K calls `question`.

    Raises:
        FormatError: if it has none.
    """
    if isinstance(row, FormatError):
        raise row
    return text_of(row, "problem" if row.get("problem") or "question" not in row else "question")


def _reason(error: FormatError) -> str:
    return str(error).partition(":")[0]


def _plain(text: str) -> str:
    return _NO_WORD.sub(" ", text.casefold()).strip()
