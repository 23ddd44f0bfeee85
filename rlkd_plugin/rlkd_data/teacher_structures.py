"""The job behind `rlkd structure`: teacher structures ahead of training, as a column.

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
"""Ends the name of the file of the rows without a structure."""
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
"""The lines of the files of `rlkd structure`."""
_in_order = json.JSONEncoder(sort_keys=True, default=str)  # as a line is written

WITHOUT_FIRST = 20
"""Rows after which the share of those without a whole structure counts."""
MAX_WITHOUT = 0.9
"""Share of the rows without one beyond which it is no fault of theirs."""


@dataclass
class StructureReport(RowCounts):
    """What this run of the job did.

    Attributes:
        written: rows with their structure.
        dropped: rows whose teacher has no structure, by what became of it.
        from_cache: structures of the cache, and of the rows themselves.
        steps: of the structures written.
        clipped: paths with a structure that lost their end, as they are too long for the GSRM.
        branches_without: branches of the rows written that have no whole structure.
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
    """Add `teacher_structure` to every row of a GRPO data set; to branches `teacher_structures`.

    A row with `teacher_branches` gets a structure, or None, for each of them; its
    `teacher_structure` is that of the first branch that has one. It is dropped where none has.
    A row is written when its structure is there, so their order is not the source's. Rows whose
    teacher has none, or none that is whole, go to `OUT.dropped.jsonl`. A row that is in one of the
    two files is skipped. All columns together tell which row it is: one with a corrected solution
    is another row. A row without a structure is a duplicate of an earlier one that has one and
    differs by nothing else.

    Args:
        job: from rows in our own format to JSON lines, for `--dataset rlkd/jsonl:OUT`.
        engine: entered already; it bounds its requests itself.
        cache: of the engine's structures, or None.
        report: says what was done so far, at any time, also after an error.

    Raises:
        RlkdError: if a path is wrong, `out` is not this job's or was made with other settings,
            another job writes to it, the disk is full, or no row got a structure.
        EndpointError: if the GSRM fails past the retry deadline, refuses us, rejects so many rows
            that it cannot be because of their texts, or gives hardly any a structure.
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
            return await _structure(row, engine, cache, report)

        def write(row: Row, found: _Outcome) -> None:
            if found.status == "refused":
                report.reject(
                    found.said
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
    """Make a row whose structure, where it has one that can be read, is in the canonical form.

    One that cannot be read is none where there is a path, which has another one.

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
    """Return what tells a row from others; of one with a structure also what it is without."""
    messages = _in_order.encode(row["messages"])
    texts = (row[name] or "" for name in ("solution", "problem", "domain", "teacher_reasoning"))
    bare = identity(messages, *texts, *row.get(BRANCHES, ()))
    structure = row["teacher_structure"]
    return [bare ^ identity(structure), bare] if structure else [bare]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a row or a path: its structure's text, or why there is none and what was said.

    `columns` are further columns of the row, `without` the branches that have no structure.
    """

    structure: str | None
    status: str = "ok"
    said: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    without: int = 0


async def _structure(
    row: Row, engine: Engine, cache: TeacherCache | None, report: StructureReport
) -> _Outcome:
    """Return a row's structure, or those of its branches."""
    paths: Sequence[str] = row.get(BRANCHES, ())
    if not paths:
        path, given = row["teacher_reasoning"], row["teacher_structure"]
        return await _of_path(row, path, given, engine, cache, report)
    # where there are structures of branches, `teacher_structure` need not be the first path's
    known = row.get(STRUCTURES) or [row["teacher_structure"], *[None] * (len(paths) - 1)]
    found = await gather_all(
        _of_path(row, path, _canonical(given), engine, cache, report)
        for path, given in zip(paths, known, strict=True)
    )
    first = next((one for one in found if one.structure), found[0])
    structures = [one.structure for one in found]
    without = structures.count(None)
    return replace(first, columns={STRUCTURES: structures}, without=without)


async def _of_path(
    row: Row,
    path: str | None,
    given: str | None,
    engine: Engine,
    cache: TeacherCache | None,
    report: StructureReport,
) -> _Outcome:
    """Return the structure of a path of a row, the one that is given where there is one."""
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
        EndpointError: if hardly any row got a whole structure of it.
    """
    without = report.dropped["undecomposable"] + report.dropped[CUT]
    if without >= WITHOUT_FIRST and without > MAX_WITHOUT * report.worked:
        said = f"; the last time it said {last.said[:300]!r}" if last.said else ""
        raise EndpointError(
            f"{without} of {report.worked} rows got no whole structure of the GSRM "
            f"({last.status}){said}. Run `rlkd check`; the dropped file keeps the rows, remove it "
            "to try them again"
        )
