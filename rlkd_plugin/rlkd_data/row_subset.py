"""The job behind `rlkd subset`: the rows that are least similar to a test set.

It is the third setting of section 4.1: training data with a domain shift to what is tested. A row's
similarity is the largest cosine of its problem's embedding to that of any test problem. What was
measured stays in a file beside the result, so that a job that was stopped goes on.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.job_rows import source_files
from rlkd_plugin.rlkd_data.job_runner import run_job
from rlkd_plugin.rlkd_data.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.row_files import json_line, raw_rows, row_files

BATCH = 64  # texts in one request for embeddings
NEAR = 0.95  # problems of at least this cosine to a test item are reported
SHOWN = 10  # rows shown at each end
DIGITS = 6  # of a cosine; its last bits depend on which texts were embedded together

_NO_WORD = re.compile(r"[\W_]+")


class Embedder(Protocol):
    """Gives texts their embeddings; `name` says whose they are."""

    name: str

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, all of one length."""
        ...


@dataclass(frozen=True)
class Similar:
    """A row's similarity to the test item that is nearest to it, and both problems."""

    similarity: float
    problem: str
    test_problem: str


@dataclass
class SubsetReport:
    """What the job found.

    Attributes:
        rows: of the source.
        without_problem: how many of them have none to compare, or cannot be read.
        problems: different ones among them.
        measured_before: how many of these a job that was stopped had measured.
        written: rows in the result.
        least: the rows that are least similar, from the first on.
        most: the rows that are most similar, from the first on.
        exact: rows whose problem is a test item's, but for case, spaces and punctuation.
        near: other rows of at least `NEAR` similarity.
    """

    rows: int = 0
    without_problem: int = 0
    problems: int = 0
    measured_before: int = 0
    written: int = 0
    least: list[Similar] = field(default_factory=list)
    most: list[Similar] = field(default_factory=list)
    exact: list[Similar] = field(default_factory=list)
    near: list[Similar] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """Rows whose problem is measured, or is being measured."""
        return self.rows


Known = dict[int, tuple[float, int]]
"""Of each problem, by its identity: its similarity, and which test item is the nearest."""


async def write_subset(
    source: Path,
    tests: Path,
    out: Path,
    count: int,
    embedder: Embedder,
    report: SubsetReport,
    *,
    concurrency: int = 8,
) -> None:
    """Write the `count` rows of a source that are least similar to any test item.

    Rows stand in `out` as in the source and in its order; of rows with the same problem the first
    counts. Equal similarities are ordered by the problem's hash: the same rows every time.

    Args:
        source: JSON lines or Parquet, or a folder of them; rows with `problem`, or `question`.
        tests: the test set, of the same kind.
        out: JSON lines; `OUT.similarities.jsonl` beside it keeps what was measured.
        count: how many rows to write.
        embedder: of problems; what another one measured does not count.
        report: says what was done so far, at any time, also after an error.
        concurrency: requests for embeddings in flight at once.

    Raises:
        RlkdError: if a file is missing, the test set is empty, or there are too few rows.
        EndpointError: if the embedding server fails.
    """
    files = source_files(source, out)
    items = [text for _, row in raw_rows(row_files(tests)) if (text := _problem(row))]
    if not items:
        raise RlkdError(f"{tests} has no row with a problem to compare with")
    targets = _unit(await _embedded(items, embedder))
    tests_id = identity(embedder.name, *items)
    present: set[int] = set()
    with ResultFile(out.with_name(f"{out.name}.similarities.jsonl")) as measured:
        known: Known = {
            row["id"]: (row["similarity"], row["nearest"])
            for row in measured.rows()
            if row.get("tests") == tests_id
        }

        async def measure(batch: list[tuple[int, str]]) -> np.ndarray:
            return _unit(await embedder.embed([text for _, text in batch])) @ targets.T

        def keep(batch: list[tuple[int, str]], cosines: np.ndarray) -> None:
            for (key, _), row in zip(batch, cosines, strict=True):
                nearest = int(row.argmax())
                similarity = round(float(row[nearest]), DIGITS)
                known[key] = similarity, nearest
                line = {"id": key, "similarity": similarity, "nearest": nearest}
                measured.append({**line, "tests": tests_id})

        await run_job(_batches(files, known, present, report), measure, keep, concurrency)
    report.problems = len(present)
    if count > len(present):
        raise RlkdError(f"{source} has {len(present)} different problems, fewer than {count}")
    _write(files, out, count, {key: known[key] for key in present}, items, report)


def _batches(
    files: Sequence[Path], known: Known, present: set[int], report: SubsetReport
) -> Iterator[list[tuple[int, str]]]:
    """Yield the problems that are not measured yet, each once, and note which there are."""

    def fresh() -> Iterator[tuple[int, str]]:
        for _, row in raw_rows(files, ("problem", "question")):
            report.rows += 1
            text = _problem(row)
            if text is None:
                report.without_problem += 1
                continue
            key = identity(text)
            if key not in present:
                present.add(key)
                if key in known:
                    report.measured_before += 1
                else:
                    yield key, text

    todo = fresh()
    while batch := list(islice(todo, BATCH)):
        yield batch


def _write(
    files: Sequence[Path],
    out: Path,
    count: int,
    known: Known,
    items: Sequence[str],
    report: SubsetReport,
) -> None:
    ranked = sorted(known, key=lambda key: (known[key][0], key))
    chosen = set(ranked[:count])
    ends = dict.fromkeys((*ranked[:SHOWN], *ranked[-SHOWN:]))
    plain = {_plain(item): item for item in items}
    seen: set[int] = set()
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as lines:
            for _, row in raw_rows(files):
                text = _problem(row)
                if text is None or (key := identity(text)) in seen:
                    continue
                seen.add(key)
                if key in chosen:
                    lines.write(json_line(row))
                    report.written += 1
                pair = Similar(known[key][0], text, items[known[key][1]])
                if _plain(text) in plain:
                    report.exact.append(Similar(pair.similarity, text, plain[_plain(text)]))
                elif pair.similarity >= NEAR:
                    report.near.append(pair)
                if key in ends:
                    ends[key] = pair
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    report.least = [ends[key] for key in ranked[:SHOWN]]
    report.most = [ends[key] for key in reversed(ranked[-SHOWN:])]


async def _embedded(texts: Sequence[str], embedder: Embedder) -> list[list[float]]:
    found: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        found += await embedder.embed(texts[start : start + BATCH])
    return found


def _unit(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    """Return vectors of length 1, shape (N, D), in double precision."""
    matrix = np.asarray(vectors, dtype=np.float64)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _problem(row: dict[str, Any] | FormatError) -> str | None:
    """Return a row's problem, which GSM8K calls `question`; None if it has none."""
    if isinstance(row, FormatError):
        return None
    text = row.get("problem") or row.get("question")
    return text.strip() if isinstance(text, str) and text.strip() else None


def _plain(text: str) -> str:
    return _NO_WORD.sub(" ", text.casefold()).strip()
