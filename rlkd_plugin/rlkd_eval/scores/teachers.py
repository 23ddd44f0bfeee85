"""Finds the teacher of a completion: its own row's, else one of a second file."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.gsrm.texts import normalise
from rlkd_plugin.rlkd_data.rows.row_fields import text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_eval.scores.completion_rows import Completion
from rlkd_plugin.rlkd_eval.scores.problem_index import ProblemIndex
from rlkd_plugin.rlkd_eval.scores.teacher_rows import COLUMNS, Teacher, read_teacher

Asked = tuple[str, bool]
"""A completion's problem or prompt, and whether it may hold more than the problem."""

logger = logging.getLogger(__name__)


class Teachers:
    """The teachers of a source's completions.

    Args:
        problem_of: the problem, after `normalise`, of each completion's problem or prompt.
        known: the teacher of each problem.
    """

    def __init__(
        self,
        problem_of: dict[Asked, str] | None = None,
        known: dict[str, Teacher] | None = None,
    ) -> None:
        self._problem_of = problem_of or {}
        self._known = known or {}

    @property
    def most_branches(self) -> int:
        """The most paths that one of these teachers has; 1 without any."""
        return max((len(teacher.branches) for teacher in self._known.values()), default=1)

    def of(self, completion: Completion) -> Teacher | None:
        """Return the teacher of a completion, None where there is none."""
        if completion.teacher is not None:
            return completion.teacher
        problem = self._problem_of.get((completion.asked, completion.is_prompt))
        return None if problem is None else self._known.get(problem)


def read_teachers(file: Path, wanted: Collection[Asked]) -> Teachers:
    """Return the teachers of a file for the completions' problems or prompts.

    The file is read twice, and only the wanted teachers are kept. Of several teachers of a problem
    the first counts.

    Args:
        file: rows in our own format, a file or a folder.
        wanted: the problems or prompts.

    Raises:
        RlkdError: if it cannot be read, or has none of these problems.
    """
    files = row_files(file)
    index = ProblemIndex(text for _, text in _problems(file, files))
    problem_of = {asked: problem for asked in wanted if (problem := index.find(*asked)) is not None}
    if not problem_of:
        shown = next(iter(wanted))[0]
        raise RlkdError(
            f"{file} has none of the problems of the completions; the first completion's "
            f"problem or prompt is {shown[:200]!r}. Give a file with their teachers"
        )
    needed = set(problem_of.values())
    known: dict[str, Teacher] = {}
    others: set[str] = set()
    rejected = Counter[str]()
    for raw, text in _problems(file, files):
        if (plain := normalise(text)) not in needed:
            continue
        try:
            teacher = read_teacher(raw)
            if teacher is None:
                raise FormatError(f"no {', '.join(COLUMNS)}: the problem {text!r:.200}")
        except FormatError as error:
            rejected[str(error).partition(":")[0]] += 1
            continue
        if known.setdefault(plain, teacher).texts[2:] != teacher.texts[2:]:
            others.add(plain)
    if rejected:
        words = ", ".join(f"{count:,} x {why}" for why, count in rejected.most_common(5))
        logger.warning("%s: %d rows have no usable teacher: %s", file, rejected.total(), words)
    if others:
        words = "%s: %d problems have several teachers; the first of each counts"
        logger.warning(words, file, len(others))
    return Teachers(problem_of, known)


def _problems(file: Path, files: list[Path]) -> Iterator[tuple[Row, str]]:
    """Yield the rows that have a problem, with the problem.

    Raises:
        RlkdError: if there are none.
    """
    count = 0
    for _, row in raw_rows(files):
        try:
            if isinstance(row, FormatError):
                raise row
            text = text_of(row, "problem")
        except FormatError:
            continue
        count += 1
        yield row, text
    if not count:
        raise RlkdError(f"{file} has no row with a problem: give rows with problem and a teacher")
