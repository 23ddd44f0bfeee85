"""Selects the completions that `rlkd score` still has to score, and computes their keys."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.result_lines import identity
from rlkd_plugin.rlkd_eval.scores.completion_rows import Completion
from rlkd_plugin.rlkd_eval.scores.score_plan import ScorePlan
from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport
from rlkd_plugin.rlkd_eval.scores.teacher_rows import Teacher
from rlkd_plugin.rlkd_eval.scores.teachers import Teachers


@dataclass
class OpenRow:
    """A row of the source, and how many of its completions need work."""

    report: ScoreReport
    left: int

    def end(self) -> None:
        """Count a completion as done, and with the last one the row."""
        self.left -= 1
        self.report.passed += not self.left


@dataclass(frozen=True)
class ScoreItem:
    """A completion to score.

    Attributes:
        key: identifies it in the source.
        sample: the completion with its teacher.
        completion: as the source has it.
        row: counts it when it is scored.
    """

    key: int
    sample: Sample
    completion: Completion
    row: OpenRow


def items_to_do(
    plan: ScorePlan, branches: int, done: DoneRows, keys: "array[int]", report: ScoreReport
) -> Iterator[ScoreItem]:
    """Yield the completions to score, count the others, and note the keys of all.

    Args:
        plan: of the job.
        branches: paths of a teacher that count.
        done: the keys of the completions that have a line.
        keys: filled in the order of the source.
        report: filled while rows are read.

    Raises:
        RlkdError: if the source has a row of another format by now.
    """
    seen: Counter[int] = Counter()
    for row in plan.source.rows():
        opened = OpenRow(report, len(row.completions))
        report.passed += not row.completions
        for found in row.completions:
            report.read += 1
            if row.is_repeated:
                report.repeated += 1
                opened.end()
                continue
            try:
                completion, teacher = _with_teacher(found, plan.teachers)
            except FormatError as error:
                report.refused[str(error).partition(":")[0]] += 1
                opened.end()
                continue
            about = (completion.text, str(completion.cut_off), str(completion.step))
            text = identity(*teacher.texts, *about)
            seen[text] += 1
            key = identity(f"{text:x}", str(seen[text]))
            keys.append(key)
            if key in done:
                report.done_before += 1
                opened.end()
            else:
                yield ScoreItem(key, teacher.sample(completion.text, branches), completion, opened)


def _with_teacher(
    found: Completion | FormatError, teachers: Teachers
) -> tuple[Completion, Teacher]:
    """Return a completion that can be scored, and its teacher.

    Raises:
        FormatError: if it cannot be.
    """
    if isinstance(found, FormatError):
        raise found
    teacher = teachers.of(found)
    if teacher is None:
        raise FormatError(f"no teacher: {found.asked!r:.200}")
    return found, teacher
