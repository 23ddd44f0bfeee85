"""The job behind `rlkd score`: the structure reward of every completion of a source.

Each completion is scored by itself, in one window that is always full: no completion waits for the
slowest of a batch. Its line is written at once. Equal requests are made once (`shared_engine`).
"""

import logging
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlkd_plugin.engines.run_window import RunWindow
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.engines.teachers import why_missing
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.data_job import check_unchanged
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_eval.scores.figures import Figures, is_refused
from rlkd_plugin.rlkd_eval.scores.offline_scorer import OfflineScorer
from rlkd_plugin.rlkd_eval.scores.recent_work import RecentWork
from rlkd_plugin.rlkd_eval.scores.score_items import ScoreItem, items_to_do
from rlkd_plugin.rlkd_eval.scores.score_lines import SHAPE, read_line, score_line, sort_lines
from rlkd_plugin.rlkd_eval.scores.score_plan import ScorePlan
from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport

COMMAND = "rlkd score"
IN_WORK = 2
"""Completions in work for each request in flight: one may wait for its teacher, or for a verdict
that another one has requested."""
ROUND = 64
"""Completions between two checks whether the models reject too much."""
SCORES = 64
"""Newest scores that are kept for equal completions."""
REMEDY = "`rlkd check` tests the GSRM as the reward uses it, and names the setting to change"

logger = logging.getLogger(__name__)


async def score_completions(plan: ScorePlan, scorer: OfflineScorer, report: ScoreReport) -> None:
    """Score every completion that has no line yet, and write a trace line for each.

    A completion is identified by its texts, not by its place: the source may grow or be shuffled.
    Of equal completions each has a line. A completion with a rejected text has its line, with the
    reward for that case, and is scored anew by the next run.

    Args:
        plan: of the job.
        scorer: its engine is entered already; it bounds its requests itself.
        report: counts the work so far, at any time, also after an error.

    Raises:
        RlkdError: if OUT is not this job's, or was made from another source or with other settings,
            another job writes to it, the disk is full, the source has changed, or no line was
            written.
        EndpointError: if a server fails past the retry deadline or rejects our requests; or if,
            over a window of the job, the models reject too much or decompose nothing.
    """
    report.total = plan.total
    out, source = plan.job.out, plan.source
    place = str(plan.job.source.resolve())
    result = Result(COMMAND, out, scorer.maker, {"": SHAPE}, source=place)
    keys = array("Q")
    with _create_folder(out.parent), own(result) as owned:
        with owned.open() as lines:
            writer = _Writer(lines, scorer, report)
            same: RecentWork[Score] = RecentWork(SCORES)

            async def work(item: ScoreItem) -> Score:
                return await same.do(item.sample, lambda: scorer.score(item.sample))

            done = DoneRows(_count_done(lines, report.figures))
            todo = items_to_do(plan, scorer.settings.branches, done, keys, report)
            try:
                await run_job(todo, work, writer.write, plan.job.concurrency)
            finally:
                await same.close()
            writer.judge()
        check_unchanged(source.source, source.stamps)
        report.account.check()
        report.left_over = sort_lines(out, keys)
    if not lines.lines:
        words = ", ".join(f"{count:,} x {why}" for why, count in report.refused.most_common(5))
        raise RlkdError(
            f"no completion of {source.source} could be scored, and {out} was not written: "
            f"{report.account.line()}{f' ({words})' if words else ''}"
        )


def _count_done(lines: ResultFile, figures: Figures) -> Iterator[int]:
    """Yield the keys of the finished lines, and add these to the figures."""
    for line in lines.rows():
        key, trace = read_line(lines.file, line)
        if not is_refused(trace) and trace.teacher.status != "refused":
            figures.add(trace)
            yield key


class _Writer:
    """Writes lines as scores come, and stops a job whose models reject too much."""

    def __init__(self, lines: ResultFile, scorer: OfflineScorer, report: ScoreReport) -> None:
        self._lines = lines
        self._scorer = scorer
        self._report = report
        self._window = RunWindow(remedy=REMEDY)
        self._round: list[Score] = []
        self._has_warned = False

    def write(self, item: ScoreItem, score: Score) -> None:
        """Write the line of a completion.

        Raises:
            RlkdError: if the disk is full.
            EndpointError: as `judge`.
        """
        of = item.completion
        trace = self._scorer.trace(score, item.sample, of.cut_off, of.step)
        self._lines.append(score_line(item.key, trace))
        self._report.figures.add(trace)
        self._report.scored += 1
        item.row.end()
        self._warn(item.sample, score)
        self._round.append(score)
        if len(self._round) >= ROUND:
            self.judge()

    def judge(self) -> None:
        """Check the newest scores.

        Raises:
            EndpointError: if the models reject too much, or decompose nearly nothing.
        """
        self._window.judge(self._round)
        self._round = []

    def _warn(self, sample: Sample, score: Score) -> None:
        """Warn once that a teacher has no structure."""
        if score.teacher.structure is None and not self._has_warned:
            self._has_warned = True
            why = why_missing(sample, score.teacher)
            logger.warning(
                "a teacher has no structure, so its completions have no reward: %s; logged once, "
                "counted in the table",
                why,
            )


@contextmanager
def _create_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents for the body; remove the new ones that stay empty.

    Raises:
        RlkdError: if it cannot be created.
    """
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RlkdError(
            f"the folder {folder} cannot be created ({error.strerror}); name another one"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # not empty: it holds results
            for one in new:
                one.rmdir()
