"""The job behind `rlkd structure`: teacher structures ahead of training, as a column.

Training then never decomposes a teacher's path, and no prompt is without a teacher. The structures
also fill the cache that the reward reads.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.gsrm import FormatError, parse_structure, render_structure
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts, rows_to_do, source_files
from rlkd_plugin.rlkd_data.rows.row_format import Row, grpo_row


@dataclass
class StructureReport(RowCounts):
    """What the job did.

    Attributes:
        written: rows with their structure, now.
        dropped: rows whose teacher has no structure, now, by what became of it.
        from_cache: structures of the cache, and of the rows themselves.
        steps: of the structures written.
    """

    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    from_cache: int = 0
    steps: int = 0

    @property
    def worked(self) -> int:
        """Rows that have a structure now, or are known to have none."""
        return self.written + self.dropped.total()


async def write_structures(
    source: Path,
    out: Path,
    engine: Engine,
    cache: TeacherCache | None,
    report: StructureReport,
    *,
    concurrency: int,
    shard: tuple[int, int] = (1, 1),
) -> None:
    """Add `teacher_structure` to every row of a GRPO data set.

    A row is written when its structure is there, so their order is not the source's. Rows whose
    teacher has none go to `OUT.dropped.jsonl`. A row that is in one of the two files is not asked
    for again; what a row is, is told by problem, domain and path.

    Args:
        source: rows in our own format: a file or a folder, JSON lines or Parquet.
        out: JSON lines, for `--dataset rlkd/jsonl:OUT`.
        engine: entered already.
        cache: of the engine's structures, or None.
        report: says what was done so far, at any time, also after an error.
        concurrency: rows in work at once; the engine bounds its requests itself.
        shard: (i, n): take the i-th of n parts, which together are all rows.

    Raises:
        RlkdError: if a path is wrong, another job writes to `out`, or the disk is full.
        EndpointError: if the GSRM fails for longer than the patience, or refuses us.
    """
    files = source_files(source, out)
    with (
        ResultFile(out, "problem", "domain", "teacher_structure") as written,
        ResultFile(out.with_name(f"{out.name}.dropped.jsonl"), "problem", "dropped") as dropped,
    ):
        done = written.done(_identity) | dropped.done(_identity)

        async def work(row: Row) -> tuple[str | None, str]:
            return await _structure(row, engine, cache, report)

        def write(row: Row, found: tuple[str | None, str]) -> None:
            structure, status = found
            if status == "refused":
                report.refuse(
                    "see the GSRM's log; RLKD_GSRM_MAX_TOKENS may leave no room for paths"
                )
            elif structure is None:
                dropped.append({**row, "dropped": status})
                report.dropped[status] += 1
            else:
                written.append({**row, "teacher_structure": structure})
                report.written += 1

        todo = rows_to_do(files, grpo_row, _identity, done, shard, report)
        await run_job(todo, work, write, concurrency)


async def _structure(
    row: Row, engine: Engine, cache: TeacherCache | None, report: StructureReport
) -> tuple[str | None, str]:
    """Return a row's structure text, or None and what became of it."""
    if row["teacher_structure"]:
        try:
            found = parse_structure(row["teacher_structure"])
            report.from_cache += 1
            report.steps += len(found.steps)
            return render_structure(found), "ok"
        except FormatError:
            if not row["teacher_reasoning"]:
                return None, "its structure cannot be read"
    asked = (row["problem"], row["domain"], teacher_path(row["teacher_reasoning"]))
    if not has_reasoning(asked[2]):
        return None, "no reasoning"
    structure = cache.get(*asked) if cache is not None else None
    if structure is not None:
        report.from_cache += 1
    else:
        result = await engine.decompose(*asked)
        if result.structure is None:
            return None, result.status
        structure = result.structure
        if cache is not None:
            cache.put(*asked, structure)
    report.steps += len(structure.steps)
    return render_structure(structure), "ok"


def _identity(row: dict[str, Any]) -> int:
    return identity(row["problem"], row["domain"], row.get("teacher_reasoning") or "")
