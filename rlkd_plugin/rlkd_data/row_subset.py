"""The job behind `rlkd subset`: the rows that are least similar to a test set.

It is the third setting of section 4.1: training data with a domain shift to what is tested. A row's
similarity is the largest cosine of its problem's embedding to that of any test problem. What was
measured stays in a file beside the result, so that a job that was stopped goes on.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rlkd_plugin.gsrm import EndpointError, FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import source_files
from rlkd_plugin.rlkd_data.rows.row_files import json_line, raw_rows

BATCH = 64  # texts in one request for embeddings
NEAR = 0.95  # problems of at least this cosine to a test item are reported
SHOWN = 10  # rows shown at each end
DIGITS = 6  # of a cosine; its last bits depend on which texts were embedded together

logger = logging.getLogger(__name__)

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
        measured: how many of them are measured now.
        refused: how many problems the embedding server does not take; they are not chosen.
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
    refused: int = 0
    measured: int = 0
    written: int = 0
    least: list[Similar] = field(default_factory=list)
    most: list[Similar] = field(default_factory=list)
    exact: list[Similar] = field(default_factory=list)
    near: list[Similar] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """Rows that need no more work, as if each problem stood in one row."""
        repeated = self.rows - self.without_problem - self.problems
        others = self.measured_before + self.refused + self.without_problem + repeated
        return self.measured + others


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
        RlkdError: if a file is wrong, the test set is empty, or there are too few rows.
        EndpointError: if the embedding server fails.
    """
    files = source_files(source, out)
    items = _items(tests, out)
    saved = out.with_name(f"{out.name}.similarities.jsonl")
    if out.exists() and not (out.is_file() and saved.exists()):
        raise RlkdError(f"{out} is there already, and not from this job; name another file")
    present = _problems(files, report)
    if count > len(present):
        raise RlkdError(f"{source} has {len(present)} different problems, fewer than {count}")
    with ResultFile(saved, "id", "similarity", "nearest", "tests") as measured:
        targets = _unit(await _embedded(items, embedder))
        tests_id = identity(embedder.name, *items)
        known: Known = {
            row["id"]: (row["similarity"], row["nearest"])
            for row in measured.rows()
            if row["tests"] == tests_id and row["id"] in present
        }
        report.measured_before = len(known)

        async def measure(batch: list[tuple[int, str]]) -> dict[int, np.ndarray]:
            vectors = await _taken([text for _, text in batch], embedder)
            taken = [at for at, vector in enumerate(vectors) if vector is not None]
            if not taken:
                return {}
            cosines = _unit([vectors[at] for at in taken], targets) @ targets.T
            return {batch[at][0]: row for at, row in zip(taken, cosines, strict=True)}

        def keep(batch: list[tuple[int, str]], cosines: dict[int, np.ndarray]) -> None:
            report.refused += len(batch) - len(cosines)
            for key, row in cosines.items():
                nearest = int(row.argmax())
                similarity = round(float(row[nearest]), DIGITS)
                line = {"id": key, "similarity": similarity, "nearest": nearest}
                measured.append({**line, "tests": tests_id})
                known[key] = similarity, nearest
                report.measured += 1

        await run_job(_batches(files, set(known)), measure, keep, concurrency)
        if count > len(known):
            raise RlkdError(f"only {len(known)} problems have an embedding, fewer than {count}")
        _write(files, out, count, known, items, report)


def _items(tests: Path, out: Path) -> list[str]:
    """Return the problems of the test set.

    Raises:
        RlkdError: if it has none, or would be written over.
    """
    files = source_files(tests, out)
    items = [text for _, row in raw_rows(files) if (text := _problem(row))]
    if not items:
        raise RlkdError(f"{tests} has no row with a problem to compare with")
    return items


def _problems(files: Sequence[Path], report: SubsetReport) -> set[int]:
    """Return the identities of the problems, and count rows."""
    present: set[int] = set()
    for _, row in raw_rows(files, ("problem", "question")):
        report.rows += 1
        text = _problem(row)
        if text is None:
            report.without_problem += 1
        else:
            present.add(identity(text))
    report.problems = len(present)
    return present


def _batches(files: Sequence[Path], known: set[int]) -> Iterator[list[tuple[int, str]]]:
    """Yield the problems that are not known yet, each once."""

    def fresh() -> Iterator[tuple[int, str]]:
        for _, row in raw_rows(files, ("problem", "question")):
            text = _problem(row)
            if text is not None and (key := identity(text)) not in known:
                known.add(key)
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
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with unfinished.open("wb") as lines:
            for _, row in raw_rows(files):
                text = _problem(row)
                if text is None or (key := identity(text)) in seen or key not in known:
                    continue
                seen.add(key)
                if key in chosen:
                    lines.write(_line(row))
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


async def _taken(texts: Sequence[str], embedder: Embedder) -> list[list[float] | None]:
    """Return the texts' embeddings, None for each that the server does not take."""
    try:
        return [*await embedder.embed(texts)]
    except EndpointError as error:
        if not error.refuses_text:
            raise
        if len(texts) == 1:
            logger.warning("not chosen: %r: %s", texts[0][:80], error)
            return [None]
    return [vector for text in texts for vector in await _taken([text], embedder)]


def _unit(vectors: Sequence[Sequence[float]], like: np.ndarray | None = None) -> np.ndarray:
    """Return vectors of length 1, shape (N, D), in double precision.

    Raises:
        EndpointError: if they are of another dimension than `like`.
    """
    matrix = np.asarray(vectors, dtype=np.float64)
    if like is not None and matrix.shape[1] != like.shape[1]:
        raise EndpointError(
            f"the embedding server gives vectors of {like.shape[1]} and of {matrix.shape[1]} "
            "numbers; is it one model behind all of RLKD_EMBED_BASE_URL?"
        )
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def _line(row: dict[str, Any]) -> bytes:
    """Return a row as it stands, as a line of JSON; half a character as its escape."""
    try:
        return json_line(row)
    except FormatError:
        return json.dumps(row, default=str).encode() + b"\n"


def _problem(row: dict[str, Any] | FormatError) -> str | None:
    """Return a row's problem, which GSM8K calls `question`; None if it has none."""
    if isinstance(row, FormatError):
        return None
    text = row.get("problem") or row.get("question")
    return text.strip() if isinstance(text, str) and text.strip() else None


def _plain(text: str) -> str:
    return _NO_WORD.sub(" ", text.casefold()).strip()
