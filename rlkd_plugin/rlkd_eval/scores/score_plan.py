"""Plans `rlkd score` before its first request: the source, its teachers, the place of OUT."""

import logging
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, source_files
from rlkd_plugin.rlkd_eval.scores.completion_source import CompletionSource
from rlkd_plugin.rlkd_eval.scores.score_lines import TRACE
from rlkd_plugin.rlkd_eval.scores.teachers import Asked, Teachers, read_teachers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScorePlan:
    """A source that was read, with its teachers.

    Attributes:
        job: names the source, the output file and the concurrency.
        source: its rows.
        teachers: of its completions.
        total: completions, including those that cannot be scored.
    """

    job: DataJob
    source: CompletionSource
    teachers: Teachers
    total: int


def trace_place(out: Path) -> Path:
    """Return the file of scores in OUT, a folder that need not exist.

    Raises:
        RlkdError: if OUT is a file, or looks like one.
    """
    if out.is_file() or out.suffix in (".jsonl", ".json"):
        raise RlkdError(f"{out} must be a folder: {TRACE} is written there, for `rlkd report`")
    return out / TRACE


def plan_scores(job: DataJob, teachers: Path | None, branches: int) -> ScorePlan:
    """Read a source and its teachers.

    Args:
        job: names the source.
        teachers: rows with the teachers of completions whose own rows have none, or None.
        branches: paths of a teacher that count.

    Raises:
        RlkdError: if the source is empty, has rows of two formats, no completion or no teacher;
            or the teachers are of other problems.
    """
    source = CompletionSource(job.source, source_files(job.source, job.out))
    wanted: dict[Asked, None] = {}
    total = own = paths = 0
    for row in source.rows():
        for found in row.completions:
            total += 1
            if isinstance(found, FormatError):
                continue
            if found.teacher is None:
                wanted[found.asked, found.is_prompt] = None
            else:
                own += 1
                paths = max(paths, len(found.teacher.branches))
    known = _teachers(job.source, teachers, wanted, own)
    if branches > 1 and max(paths, known.most_branches) == 1:
        words = "RLKD_BRANCHES=%d: no teacher has more than one path; teacher_branches holds them"
        logger.warning(words, branches)
    return ScorePlan(job, source, known, total)


def _teachers(source: Path, file: Path | None, wanted: dict[Asked, None], own: int) -> Teachers:
    if not wanted:
        if file is not None and own:
            logger.warning("%s is not read: every row has its own teacher", file)
        return Teachers()
    if file is not None:
        return read_teachers(file, wanted)
    if not own:
        raise RlkdError(
            f"{source} has no teacher to compare its completions with: give --teachers FILE, "
            "rows with problem and teacher_reasoning or teacher_structure, as `rlkd prepare` and "
            "`rlkd structure` write them"
        )
    return Teachers()
