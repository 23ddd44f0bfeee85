"""The job behind `rlkd structure`: computes teacher structures before training, as a column.

Training then never decomposes a teacher's path, and no prompt is without a teacher. The structures
also fill the cache that the reward reads.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import NoneType
from typing import Any

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.in_flight import gather_all
from rlkd_plugin.gsrm import EndpointError, FormatError, parse_structure, render_structure
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, source_files
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_lines import Shape, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts, RowKind, rows_to_do
from rlkd_plugin.rlkd_data.rows.branches import BRANCHES, STRUCTURES
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

CUT = "structure cut at its token limit: raise RLKD_GSRM_MAX_TOKENS"
DROPPED = ".dropped.jsonl"
"""Suffix of the file with the rows that got no structure."""
OPTIONAL = (str, NoneType)
ROW: Shape = {
    "messages": list,
    "solution": str,
    "problem": str,
    "domain": str,
    "teacher_reasoning": OPTIONAL,
}
SHAPES: Mapping[str, Shape] = {
    "": {**ROW, "teacher_structure": str},
    DROPPED: {**ROW, "teacher_structure": OPTIONAL, "dropped": str},
}
"""Columns of the lines of each file, by its suffix."""
_in_order = json.JSONEncoder(sort_keys=True, default=str)  # as a line is written

WITHOUT_FIRST = 20
"""Minimum number of rows without a whole structure at which their share counts."""
MAX_WITHOUT = 0.9
"""Largest share of such rows; above it the GSRM is at fault, not the rows."""


@dataclass
class StructureReport(RowCounts):
    """Counts of this run of the job.

    Attributes:
        written: rows with their structure.
        dropped: rows whose teacher has no structure, by status.
        from_cache: structures from the cache or from the rows themselves.
        steps: steps of the written structures.
        clipped: paths that were clipped, as they are too long for the GSRM.
        branches_without: branches of written rows without a whole structure.
    """

    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    from_cache: int = 0
    steps: int = 0
    clipped: int = 0
    branches_without: int = 0

    @property
    def results(self) -> Mapping[str, int]:
        """Rows that were written or dropped."""
        return {"written": self.written, "dropped": self.dropped.total()}


async def write_structures(
    job: DataJob, engine: Engine, cache: TeacherCache | None, report: StructureReport
) -> None:
    """Add `teacher_structure` to each row of a GRPO data set, `teacher_structures` to branches.

    A row with `teacher_branches` gets a structure, or None, for each of them; its
    `teacher_structure` is that of the first branch that has one. If no branch has one, the row is
    dropped. Rows are written as they finish, not in the source's order. Rows without a whole
    structure go to `OUT.dropped.jsonl`. A row that is already in one of the two files is skipped.
    All columns together identify a row: one with a corrected solution is another row. A row without
    a structure is a duplicate of an earlier row that has one and is equal otherwise.

    Args:
        job: reads rows in our own format and writes JSON lines, for `--dataset rlkd/jsonl:OUT`.
        engine: open; it limits its own requests.
        cache: of the engine's structures, or None.
        report: counts while the job runs; also valid after an error.

    Raises:
        RlkdError: if a path is wrong, `out` is not this job's or was made with other settings,
            another job writes to it, the disk is full, or no row got a structure.
        EndpointError: if the GSRM fails past the retry deadline, denies access, rejects so many
            rows that the texts cannot be the cause, or gives a structure to hardly any.
    """
    source_files(job.source, job.out)
    facts = engine.facts
    maker = Maker(facts.get("gsrm", engine.name), facts)
    result = Result("rlkd structure", job.out, maker, SHAPES, shard=job.shard.name, may_mix=True)
    with own(result, mix=job.mix) as owned, owned.open() as written, owned.open(DROPPED) as dropped:
        # a structure in the result may have been in the source, or not
        of_written = (key for row in written.rows() for key in structure_identities(row))
        of_dropped = (structure_identities(row)[0] for row in dropped.rows())
        done = DoneRows(chain(of_written, of_dropped))

        async def work(row: Row) -> _Outcome:
            return await _structure_row(row, engine, cache, report)

        def write(row: Row, found: _Outcome) -> None:
            if found.status == "refused":
                report.reject(
                    found.reply
                    or "see the GSRM's log; RLKD_GSRM_MAX_TOKENS may leave no room for paths"
                )
            elif found.structure is None:
                dropped.append({**row, "dropped": found.status})
                report.dropped[found.status] += 1
                _check_gsrm(report, found)
            else:
                written.append({**row, "teacher_structure": found.structure, **found.columns})
                report.written += 1
                report.branches_without += found.without

        todo = rows_to_do(job, RowKind(_source_row, structure_identities), done, report)
        await run_job(todo, work, write, job.concurrency)
    report.check_done(job, written.lines, written.before + dropped.before)


def _source_row(raw: Mapping[str, Any]) -> Row:
    """Make a row, with its structure in the canonical form.

    A structure that cannot be read is removed if there is a path to decompose instead.

    Raises:
        FormatError: as `grpo_row`.
    """
    row = grpo_row(raw)
    if not row["teacher_structure"]:
        return row
    structure = _canonical(row["teacher_structure"])
    if structure is None and not row["teacher_reasoning"]:
        structure = row["teacher_structure"]
    return {**row, "teacher_structure": structure}


def _canonical(structure: str | None) -> str | None:
    """Return a structure's text in the canonical form; None where it cannot be read."""
    try:
        return render_structure(parse_structure(structure)) if structure else None
    except FormatError:
        return None


def structure_identities(row: Row) -> list[int]:
    """Return the hashes that identify a row: with its structure, if it has one, and without."""
    messages = _in_order.encode(row["messages"])
    texts = (row[name] or "" for name in ("solution", "problem", "domain", "teacher_reasoning"))
    bare = identity(messages, *texts, *row.get(BRANCHES, ()))
    structure = row["teacher_structure"]
    return [bare ^ identity(structure), bare] if structure else [bare]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of a row or a path: its structure's text, or a status and the model's reply.

    `columns` are further columns of the row, `without` counts its branches without a structure.
    """

    structure: str | None
    status: str = "ok"
    reply: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    without: int = 0


async def _structure_row(
    row: Row, engine: Engine, cache: TeacherCache | None, report: StructureReport
) -> _Outcome:
    """Return a row's structure, or those of its branches."""
    paths: Sequence[str] = row.get(BRANCHES, ())
    if not paths:
        path, given = row["teacher_reasoning"], row["teacher_structure"]
        return await _structure_path(row, path, given, engine, cache, report)
    # where there are structures of branches, `teacher_structure` need not be the first path's
    known = row.get(STRUCTURES) or [row["teacher_structure"], *[None] * (len(paths) - 1)]
    found = await gather_all(
        _structure_path(row, path, _canonical(given), engine, cache, report)
        for path, given in zip(paths, known, strict=True)
    )
    first = next((one for one in found if one.structure), found[0])
    structures = [one.structure for one in found]
    without = structures.count(None)
    return replace(first, columns={STRUCTURES: structures}, without=without)


async def _structure_path(
    row: Row,
    path: str | None,
    given: str | None,
    engine: Engine,
    cache: TeacherCache | None,
    report: StructureReport,
) -> _Outcome:
    """Return the structure of a path of a row; a given one is kept."""
    if given:
        try:
            report.steps += len(parse_structure(given).steps)
        except FormatError:
            return _Outcome(None, "its structure cannot be read")
        report.from_cache += 1
        return _Outcome(given)
    problem, domain = row["problem"], row["domain"]
    path = teacher_path(path or "")
    if not has_reasoning(path):
        return _Outcome(None, "no reasoning")
    structure = cache.get(problem, domain, path) if cache is not None else None
    if structure is not None:
        report.from_cache += 1
    else:
        result = await engine.decompose(problem, domain, path)
        structure = result.structure
        if structure is None or result.cut:  # a cut teacher would cap its students' rewards
            return _Outcome(None, CUT if result.cut else result.status, result.reply)
        report.clipped += result.clipped
        if cache is not None:
            cache.put(problem, domain, path, structure)
    report.steps += len(structure.steps)
    return _Outcome(render_structure(structure))


def _check_gsrm(report: StructureReport, last: _Outcome) -> None:
    """Stop a job whose GSRM cannot do its work.

    Raises:
        EndpointError: if hardly any row got a whole structure from it.
    """
    without = report.dropped["undecomposable"] + report.dropped[CUT]
    if without >= WITHOUT_FIRST and without > MAX_WITHOUT * report.worked:
        reply = f"; its last reply: {last.reply[:300]!r}" if last.reply else ""
        raise EndpointError(
            f"{without} of {report.worked} rows got no whole structure from the GSRM "
            f"({last.status}){reply}. Run `rlkd check`. The dropped file keeps the rows; remove it "
            "to try them again"
        )
