"""Scores completions of the miniature's problems: answer, structure reward, matched depth, form."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from examples.miniature.problems import Problem
from examples.miniature.sample import Completion
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import Step

MOST_CHARACTERS = 4000
_BOXED = re.compile(r"\\boxed\{(-?\d+)\}")


@dataclass(frozen=True)
class Scored:
    """What a completion is worth.

    Attributes:
        right: whether its one boxed number is the answer.
        in_form: whether it has exactly one boxed number.
        reward: Algorithm 1's sum over the teacher's number of steps, 0 to 1.
        depth: steps whose meta-reasoning matches the teacher's.
        steps: the student's steps.
        beyond: whether it has more steps than its teacher.
        cut_off: whether it ended at the limit of tokens.
    """

    right: bool
    in_form: bool
    reward: float
    depth: int
    steps: tuple[Step, ...]
    beyond: bool
    cut_off: bool


def score(
    problems: Sequence[Problem], completions: Sequence[Sequence[Completion]]
) -> list[list[Scored]]:
    """Return what each completion of each problem is worth, by the rules engine."""
    samples = [
        Sample(one.text, problem.text, "math", problem.path)
        for problem, drawn in zip(problems, completions, strict=True)
        for one in drawn
    ]
    scores = iter(asyncio.run(_scores(samples)))
    return [
        [_scored(problem, one, next(scores)) for one in drawn]
        for problem, drawn in zip(problems, completions, strict=True)
    ]


async def _scores(samples: Sequence[Sample]) -> Sequence[Score]:
    async with RulesEngine() as engine:
        return await score_batch(samples, engine, None, MOST_CHARACTERS)


def _scored(problem: Problem, completion: Completion, found: Score) -> Scored:
    boxed = _BOXED.findall(completion.text)
    structure = found.student.structure
    steps = structure.steps if structure else ()
    scores = found.reward.steps if found.reward else ()
    return Scored(
        right=boxed == [str(problem.answer)],
        in_form=len(boxed) == 1,
        reward=sum(scores) / len(problem.steps),
        depth=sum(1 for value in scores if value),
        steps=steps,
        beyond=len(steps) > len(problem.steps),
        cut_off=completion.cut_off,
    )
