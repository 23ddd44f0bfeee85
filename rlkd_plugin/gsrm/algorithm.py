"""Algorithm 1 of the paper, the Structured Reward Mechanism.

Not here: who answers Match (`engines`), and how many pairs are asked at once (`engines.scoring`).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from rlkd_plugin.gsrm.structure import Step, Structure
from rlkd_plugin.gsrm.tags import Field


@dataclass(frozen=True, slots=True)
class Question:
    """One Match(teacher, student) of Algorithm 1: field of step `number` (from 1), both texts."""

    number: int
    field: Field
    teacher: str
    student: str


@dataclass(frozen=True, slots=True)
class StructuredReward:
    """The reward r of Algorithm 1 and how it came about.

    `steps` holds the score v of each step reached: 1, 0.5 or 0.25 where the meta-reasoning
    matched, and 0 for the step that ended the walk, if one did. Their sum is `total`.
    """

    total: float
    steps: tuple[float, ...]

    @property
    def depth(self) -> int:
        """The number of leading steps whose meta-reasoning matched."""
        return sum(score > 0 for score in self.steps)


Walk = Generator[tuple[Question, ...], Sequence[bool], StructuredReward]


def walk(teacher: Structure, student: Structure) -> Walk:
    """Run Algorithm 1, yielding the questions it needs and taking their verdicts.

    Each yield is a tuple of questions that are all needed whatever their verdicts are, in the
    order of Algorithm 1; the verdicts are sent back in the same order. So step i's sub-problem
    and answer are asked together with step i+1's meta-reasoning, and nothing that an early exit
    could make useless is asked.

    Returns:
        The reward, as the generator's return value.
    """
    scores: list[float] = []  # v of each step; r is their sum
    pairs = list(zip(teacher.steps, student.steps, strict=False))  # i in {1, ..., min(n, m)}
    (meta,) = yield (_question(1, "meta_reasoning", pairs[0]),)
    for number, pair in enumerate(pairs, start=1):
        if not meta:  # else: Break; mismatched meta-reasoning, exit
            scores.append(0.0)
            break
        asked = [_question(number, "sub_problem", pair), _question(number, "answer", pair)]
        if number < len(pairs):
            asked.append(_question(number + 1, "meta_reasoning", pairs[number]))
        sub_problem, answer, *following = yield tuple(asked)
        score = 1.0  # v <- 1, if Match(M_i^t, M_i^s)
        if not sub_problem:  # if Not Match(Q_i^t, Q_i^s)
            score *= 0.5
        if not answer:  # if Not Match(A_i^t, A_i^s)
            score *= 0.5
        scores.append(score)  # r <- r + v
        meta = bool(following) and following[0]
    return StructuredReward(sum(scores), tuple(scores))


def structured_reward(
    teacher: Structure, student: Structure, match: Callable[[Field, str, str], bool]
) -> StructuredReward:
    """Return the reward of Algorithm 1.

    Args:
        teacher: S^t.
        student: S^s.
        match: `match(field, teacher_text, student_text)`, called in the order of Algorithm 1 and
            only as often as it needs.
    """
    steps = walk(teacher, student)
    questions = next(steps)
    while True:
        verdicts = [match(q.field, q.teacher, q.student) for q in questions]
        try:
            questions = steps.send(verdicts)
        except StopIteration as end:
            return end.value


def _question(number: int, field: Field, pair: tuple[Step, Step]) -> Question:
    teacher, student = pair
    return Question(number, field, getattr(teacher, field), getattr(student, field))
