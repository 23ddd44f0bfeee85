"""The files of problems: for the stages' training, and three test sets without a shared problem."""

import json
from collections.abc import Sequence
from pathlib import Path

from examples.miniature.problems import SMALL, Generator, Problem
from rlkd_plugin.rlkd_files import write_whole

UNSEEN_PAIRS = frozenset(
    {("bags", "half"), ("double", "give"), ("half", "buy"), ("find", "bags"), ("lose", "double")}
)
"""Events that follow each other in the test set of new orders alone."""

KNOWN = (3, 4)
"""Steps of the problems that the arms are trained on."""

FIRST_WARM = 2000
TEST_SETS = {
    "own:known": "Known kinds",
    "own:longer": "Longer (5 steps)",
    "own:orders": "New orders of events",
}
"""The test sets: problems as in training, with a step more, and with orders never trained on."""


def problem_sets(
    seed: int = 1, tests: int = 200, warm: int = 10_000, pretrain: int = 24_000
) -> dict[str, list[Problem]]:
    """Return all problems by the name of their file; no problem is in two of them.

    Most of the warm-up is drawn last: a longer one leaves the other sets as they are.
    """
    draw = Generator(seed, SMALL).draw
    sets = {
        "own:known": draw(tests, KNOWN, without=UNSEEN_PAIRS),
        "own:longer": draw(tests, (5,), without=UNSEEN_PAIRS),
        "own:orders": draw(tests, KNOWN, needs=UNSEEN_PAIRS),
        "development": draw(100, KNOWN, without=UNSEEN_PAIRS),
        "train": draw(400, KNOWN, without=UNSEEN_PAIRS),
        "warm": draw(min(warm, FIRST_WARM), KNOWN, without=UNSEEN_PAIRS),
        "pretrain": draw(pretrain, (1, 2), without=UNSEEN_PAIRS),
    }
    sets["warm"] += draw(warm - len(sets["warm"]), KNOWN, without=UNSEEN_PAIRS)
    return sets


def write_sets(folder: Path, sets: dict[str, list[Problem]]) -> None:
    """Write a file a set; those of `train` serve RL and, with the teacher's turn, SFT."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "warm", "pretrain"):
        _write(folder / f"{name}_sft.jsonl", [_with_turns(problem) for problem in sets[name]])
    _write(folder / "train.jsonl", [problem.row() for problem in sets["train"]])


def _with_turns(problem: Problem) -> dict[str, object]:
    turns = (("user", problem.text), ("assistant", problem.path))
    return problem.row() | {"messages": [{"role": r, "content": text} for r, text in turns]}


def _write(file: Path, rows: Sequence[dict[str, object]] | Sequence[dict[str, str]]) -> None:
    write_whole(file, "".join(json.dumps(row) + "\n" for row in rows))
