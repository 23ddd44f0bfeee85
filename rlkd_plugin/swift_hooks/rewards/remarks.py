"""Warns once of each kind of problem with teachers that lowers rewards.

The metrics count each (`engines.tally.metrics_of`).
"""

from collections.abc import Sequence

from swift.utils import get_logger

from rlkd_plugin.engines.round_counts import shorten
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.gsrm import FormatError, parse_structure

logger = get_logger()


class Remarks:
    """Warns of each kind once in the life of a reward."""

    def __init__(self) -> None:
        self._metrics: set[str] = set()  # of the kinds that were warned of

    def on_teachers(
        self, samples: Sequence[Sample], scores: Sequence[Score], max_chars: int
    ) -> None:
        """Warn of a batch's teachers.

        Args:
            samples: the batch.
            scores: theirs.
            max_chars: characters that the GSRM gets of a path.
        """
        for sample, score in zip(samples, scores, strict=True):
            if score.teacher.clipped:
                longest = max(len(branch.reasoning) for branch in sample.branches)
                self._warn(
                    "rlkd/clipped_teacher",
                    f"a teacher's path has {longest:,} characters: the GSRM gets the first "
                    f"{max_chars:,} (RLKD_GSRM_MAX_CHARS), and later steps earn nothing",
                )
            if score.teacher.cut:
                self._warn(
                    "rlkd/cut_teacher",
                    "a teacher's structure ends at its token limit (RLKD_GSRM_MAX_TOKENS): its "
                    f"{len(score.teacher.structure.steps) if score.teacher.structure else 0} whole "
                    "steps are used, and it is not cached",
                )
            if score.unreadable:
                found = shorten(_unreadable(sample))
                self._warn(
                    "rlkd/unreadable_structure",
                    f"a teacher_structure cannot be read ({found!r}): the path in "
                    "teacher_reasoning is decomposed, where there is one",
                )

    def _warn(self, metric: str, remark: str) -> None:
        if metric not in self._metrics:
            self._metrics.add(metric)
            logger.warning(f"rlkd: {remark}; logged once, counted as {metric}")


def _unreadable(sample: Sample) -> str:
    """Return a teacher's first structure text that cannot be parsed."""
    for branch in sample.branches:
        try:
            parse_structure(branch.structure or "")
        except FormatError:
            if branch.structure:
                return branch.structure
    return ""
