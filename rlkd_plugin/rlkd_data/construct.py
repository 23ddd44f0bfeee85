"""The job behind `rlkd construct`: R-S pairs with verification feedback (section 3.1).

A generator writes the structure of a path; our rules check it, then a verifier. If one of them
finds a fault, the generator gets it as feedback and writes again, at most three times; then the row
is discarded. A structure that was cut off at its token limit is requested once more with a higher
limit, and is never accepted.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from rlkd_plugin.gsrm import EndpointError, FormatError
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, source_files
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_lines import Shape, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts, RowKind, rows_to_do
from rlkd_plugin.rlkd_data.pair_attempts import NEITHER, PairModels, construct_pair
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, path_of, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row

DISCARDED = ".discarded.jsonl"
"""Suffix of the file with the rows that got no pair."""
ROW: Shape = {"problem": str, "domain": str, "reasoning_path": str}
SHAPES: Mapping[str, Shape] = {
    "": {**ROW, "attempts": int, "structure": str},
    DISCARDED: {**ROW, "attempts": list, "reason": str},
}
"""Columns of the lines of each file, by its suffix."""
MAX_NEITHER = 0.5
"""Largest share of rows, from the tenth on, whose verification is neither PASS nor FAIL."""


@dataclass
class ConstructReport(RowCounts):
    """Counts of the job.

    Attributes:
        accepted: rows by domain and by the accepted attempt, 1 to 4.
        discarded: rows by domain and by the last fault.
        cut: structures that were cut off at their token limit; none of them is accepted.
    """

    accepted: Counter[tuple[str, int]] = field(default_factory=Counter)
    discarded: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut: int = 0

    @property
    def results(self) -> Mapping[str, int]:
        """Rows that were accepted or discarded."""
        return {"accepted": self.accepted.total(), "discarded": self.discarded.total()}

    def count_cut(self) -> None:
        """Count a structure that was cut off."""
        self.cut += 1


def pair_source(raw: Mapping[str, Any]) -> Row:
    """Return problem, domain and reasoning path of a row, `teacher_reasoning` allowed for the last.

    Raises:
        FormatError: if one is missing, or the path has no reasoning.
    """
    path = teacher_path(path_of(raw))
    if not has_reasoning(path):
        raise FormatError(f"a path without reasoning: {path!r:.200}")
    return {
        "problem": text_of(raw, "problem"),
        "domain": domain_or_math(raw),
        "reasoning_path": path,
    }


def pair_identity(row: Row) -> int:
    """Return the hash of problem, domain and path, which identifies a row."""
    return identity(row["problem"], row["domain"], row["reasoning_path"])


async def construct_pairs(job: DataJob, models: PairModels, report: ConstructReport) -> None:
    """Write an R-S pair for each row whose structure passes, and the others with every attempt.

    Rows are written as they finish, not in the source's order. A row that is already in one of the
    two files is skipped; `pair_identity` identifies it.

    Args:
        job: from rows with `problem`, `domain` and `reasoning_path` to JSON lines, for
            `--dataset rlkd/gsrm-sft:OUT`; the discarded go to `OUT.discarded.jsonl`.
        models: write and verify.
        report: counts while the job runs; also valid after an error.

    Raises:
        RlkdError: if a path is wrong, `out` is not this job's or was made with other settings,
            another job writes to it, the disk is full, or no row was accepted.
        EndpointError: if a server fails past the retry deadline, denies access, or rejects so many
            rows that the texts cannot be the cause.
    """
    source_files(job.source, job.out)
    result = Result(
        "rlkd construct", job.out, models.maker, SHAPES, shard=job.shard.name, may_mix=True
    )
    with (
        own(result, mix=job.mix) as owned,
        owned.open() as accepted,
        owned.open(DISCARDED) as discarded,
    ):
        done = DoneRows(map(pair_identity, chain(accepted.rows(), discarded.rows())))

        async def work(row: Row) -> Row | str:
            return await construct_pair(row, models, report.count_cut)

        def write(row: Row, found: Row | str) -> None:
            if isinstance(found, str):
                report.reject(found)
            elif "structure" in found:
                accepted.append(found)
                report.accepted[row["domain"], found["attempts"]] += 1
            else:
                discarded.append(found)
                report.discarded[row["domain"], found["reason"]] += 1
                _check_verifier(report, found)

        kind = RowKind(pair_source, lambda row: [pair_identity(row)])
        await run_job(rows_to_do(job, kind, done, report), work, write, job.concurrency)
    report.check_done(job, accepted.lines, accepted.before + discarded.before)


def _check_verifier(report: ConstructReport, last: Row) -> None:
    """Stop a job whose verifier cannot do its work.

    Raises:
        EndpointError: if it says neither PASS nor FAIL for too many rows.
    """
    neither = sum(count for (_, reason), count in report.discarded.items() if reason == NEITHER)
    if report.worked >= 10 and neither > MAX_NEITHER * report.worked:
        reply = last["attempts"][-1]["fault"]
        raise EndpointError(
            f"the verifier said neither PASS nor FAIL for {neither} of {report.worked} rows; its "
            f"last reply: {reply[:300]!r}. Use another RLKD_VERIFIER_MODEL, or raise "
            "RLKD_VERIFIER_MAX_TOKENS for one that thinks. The discarded file keeps the rows; "
            "remove it to try them again"
        )
