"""Algorithm 1 of the paper, the Structured Reward Mechanism.

Not here: how Match is answered (`engines`), and how many run at once (`engines.scoring`).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from rlkd_plugin.gsrm.structure import Step, Structure
from rlkd_plugin.gsrm.tags import FIELDS, Field


@dataclass(frozen=True, slots=True)
class Question:
    """One Match(teacher, student) of Algorithm 1, for a field of step `number` (from 1)."""

    number: int
    field: Field
    teacher: str
    student: str


@dataclass(frozen=True, slots=True)
class StructuredReward:
    """The reward r of Algorithm 1, with the score of each step.

    `steps` holds the score v of each step reached: 1, 0.5 or 0.25 where the meta-reasoning
    matched, and 0 for the step that ended the walk, if one did. Their sum is `total`.
    """

    total: float
    steps: tuple[float, ...]

    @property
    def depth(self) -> int:
        """The number of leading steps whose meta-reasoning matched."""
        return sum(score > 0 for score in self.steps)


class Walk:
    """Algorithm 1 on a student whose fields and verdicts may still be arriving.

    `read` takes the fields while the student is being written. A question is asked as soon as its
    texts are there and it is needed whatever the open verdicts are. So step i's sub-problem and
    answer are asked together with step i+1's meta-reasoning, and no question is asked that an early
    exit could make useless. The one exception is the meta-reasoning of a step that the student
    never completes.

    Args:
        teacher: the steps of S^t; none where the teacher has no structure.
        reads_all: whether the student's number of steps counts, so that it is read to its end;
            a student whose reward is 0 in any case is not.
    """

    def __init__(self, teacher: Sequence[Step], reads_all: bool = False) -> None:
        self._teacher = teacher
        self._reads_all = reads_all
        self._fields: Sequence[str] = ()
        self._is_whole = False
        self._whole_steps = 0
        self._last = 0
        self._number = 1  # i, of the first step whose questions have not all been asked
        self._asked: set[tuple[int, Field]] = set()
        self._verdicts: dict[tuple[int, Field], bool] = {}

    def read(self, fields: Sequence[str], is_whole: bool) -> None:
        """Set the student's fields in reading order, including those of earlier calls.

        Args:
            fields: M_1, Q_1, A_1, M_2 ..., as `Step` holds them.
            is_whole: whether no more fields follow; an incomplete last step is then dropped.
        """
        whole = len(fields) // len(FIELDS) * len(FIELDS)
        self._fields = fields[:whole] if is_whole else fields
        self._is_whole = is_whole
        self._whole_steps = len(self._fields) // len(FIELDS)
        # min(n, m), as far as the student's m steps have begun
        self._last = min(len(self._teacher), -(-len(self._fields) // len(FIELDS)))

    def questions(self) -> list[Question]:
        """Return the questions to ask now, in the order of Algorithm 1; each question once."""
        found: list[Question] = []
        while self._number <= self._last:
            number = self._number
            if (number, "meta_reasoning") not in self._asked:
                found.append(self._question(number, "meta_reasoning"))
            is_matched = self._verdicts.get((number, "meta_reasoning"), False)
            if not is_matched or number > self._whole_steps:
                break
            found += [self._question(number, "sub_problem"), self._question(number, "answer")]
            self._number += 1
        return found

    def answer(self, question: Question, matched: bool) -> None:
        """Set the verdict on a question."""
        self._verdicts[question.number, question.field] = matched

    def is_needed(self, question: Question) -> bool:
        """Return whether the reward depends on a question; not if its step was never completed."""
        return question.number <= self._last

    @property
    def is_decided(self) -> bool:
        """Whether further text can change neither the reward nor whether there is one.

        The first step must be whole, as a text without a whole step is no structure. After it the
        walk ends at a meta-reasoning that does not match, or at the teacher's last step.
        """
        if self._is_whole or not self._whole_steps:
            return self._is_whole
        if self._reads_all:
            return self._earns_nothing
        return self._has_exited or self._whole_steps >= len(self._teacher)

    @property
    def is_over(self) -> bool:
        """Whether the reward is known."""
        at_end = self._has_exited or self._number > self._last
        is_open = any(one not in self._verdicts for one in self._asked if one[0] <= self._last)
        return self.is_decided and at_end and not is_open

    @property
    def beyond_teacher(self) -> bool:
        """Whether the student matches the teacher to its last step and begins another step.

        Valid once the walk is over. It is false after an early exit, as nothing is read after it.
        """
        extra = self._whole_steps - len(self._teacher)
        begins_another = extra > 0 or (extra == 0 and not self._is_whole)
        return begins_another and bool(self._teacher) and not self._has_exited

    def bounds(self) -> list[tuple[float, float]]:
        """Return the lowest and the highest r that open verdicts allow, by the student's steps m.

        There is one pair for each m in {0, 1, ..., n}; more steps than n change nothing. A step
        that the student has not written yet may match fully or not at all.
        """
        lowest = highest = 0.0
        bounds = [(lowest, highest)]
        is_sure = is_possible = True  # that the walk reaches this step
        for number in range(1, len(self._teacher) + 1):
            meta_reasoning = self._verdicts.get((number, "meta_reasoning"))
            is_sure = is_sure and meta_reasoning is True
            is_possible = is_possible and meta_reasoning is not False
            worst = best = 1.0
            for field in FIELDS[1:]:
                matched = self._verdicts.get((number, field))
                worst *= 1.0 if matched else 0.5
                best *= 0.5 if matched is False else 1.0
            lowest += worst if is_sure else 0.0
            highest += best if is_possible else 0.0
            bounds.append((lowest, highest))
        return bounds

    @property
    def fields_needed(self) -> int:
        """The number of leading fields that explain the reward.

        Those of the first step are always included, as they show that there is a structure.
        """
        if self._reads_all and not self._earns_nothing:
            return len(self._fields)
        steps = min(self._whole_steps, len(self._teacher))
        if self._has_exited:
            return max(len(FIELDS), len(FIELDS) * (self._number - 1) + 1)
        return len(FIELDS) * max(1, steps)

    def reward(self) -> StructuredReward:
        """Return the reward, once the walk is over."""
        scores: list[float] = []  # v of each step; r is their sum
        for number in range(1, self._last + 1):  # i in {1, ..., min(n, m)}
            if not self._verdicts[number, "meta_reasoning"]:
                scores.append(0.0)
                break  # else: Break; mismatched meta-reasoning, exit
            score = 1.0  # v <- 1, if Match(M_i^t, M_i^s)
            if not self._verdicts[number, "sub_problem"]:  # if Not Match(Q_i^t, Q_i^s)
                score *= 0.5
            if not self._verdicts[number, "answer"]:  # if Not Match(A_i^t, A_i^s)
                score *= 0.5
            scores.append(score)  # r <- r + v
        return StructuredReward(sum(scores), tuple(scores))

    @property
    def _has_exited(self) -> bool:
        is_there = self._number <= self._last
        return is_there and self._verdicts.get((self._number, "meta_reasoning")) is False

    @property
    def _earns_nothing(self) -> bool:
        """Whether r is 0 or None, however many steps the student has."""
        return not self._teacher or (self._has_exited and self._number == 1)

    def _question(self, number: int, field: Field) -> Question:
        self._asked.add((number, field))
        student = self._fields[len(FIELDS) * (number - 1) + FIELDS.index(field)]
        return Question(number, field, getattr(self._teacher[number - 1], field), student)


def walk(
    teacher: Structure, student: Structure
) -> Generator[tuple[Question, ...], Sequence[bool], StructuredReward]:
    """Run Algorithm 1 on whole structures: yield questions, receive their verdicts.

    Each yield is a tuple of questions in the order of Algorithm 1, all of which are needed. The
    verdicts are sent back in the same order.

    Returns:
        The reward, as the generator's return value.
    """
    steps = Walk(teacher.steps)
    steps.read(student.fields, is_whole=True)
    while questions := steps.questions():
        verdicts = yield tuple(questions)
        for question, matched in zip(questions, verdicts, strict=True):
            steps.answer(question, matched)
    return steps.reward()


def structured_reward(
    teacher: Structure, student: Structure, match: Callable[[Field, str, str], bool]
) -> StructuredReward:
    """Return the reward of Algorithm 1.

    Args:
        teacher: S^t.
        student: S^s.
        match: `match(field, teacher_text, student_text)`, called in the order of Algorithm 1,
            only for the questions it needs.
    """
    steps = walk(teacher, student)
    questions = next(steps)
    while True:
        verdicts = [match(q.field, q.teacher, q.student) for q in questions]
        try:
            questions = steps.send(verdicts)
        except StopIteration as end:
            return end.value
