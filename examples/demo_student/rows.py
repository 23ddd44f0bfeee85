"""The problems of the demo: those that it trains on, and others that its student was warmed up on.

The word problems of the miniature: a start, events, and how many things there are in the end.
"""

import json
from collections.abc import Iterable

from examples.miniature.problems import Generator, Problem

SEED = 23
DRAWN = 128
"""Problems of two and three steps that are kept from the warm-up."""
STEPS = 2
"""Steps of the demo's problems, half of these: the student gets one in three right at first, of
those with three steps one in seven."""
WARM_UP = 480


def draw() -> tuple[list[Problem], list[Problem]]:
    """Return the demo's problems and the warm-up's; none is in both."""
    generator = Generator(SEED)
    kept = generator.draw(DRAWN, (2, 3))
    return [p for p in kept if len(p.steps) == STEPS], generator.draw(WARM_UP, (1, 2, 3))


def demo_rows(problems: Iterable[Problem]) -> str:
    """Return problems as JSON lines for `rlkd/jsonl`."""
    return _lines(problem.row() for problem in problems)


def warm_up_rows(problems: Iterable[Problem]) -> str:
    """Return problems as JSON lines for `rlkd/jsonl-sft`: the teacher's path is what is learned."""
    return _lines(
        {
            **problem.row(),
            "messages": [
                {"role": "user", "content": problem.text},
                {"role": "assistant", "content": problem.path},
            ],
        }
        for problem in problems
    )


def _lines(rows: Iterable[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
