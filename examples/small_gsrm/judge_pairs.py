"""Labelled pairs for a judge: the same step in other words, and steps that differ in what counts.

    python -m examples.small_gsrm.judge_pairs gsm8k_socratic.jsonl OUT [--problems 150]

Writes `judge_train.jsonl` (rows for `swift sft`: the judge's prompt and its yes or no),
`judge_choose.jsonl` (100 other problems, on which a threshold may be chosen) and
`judge_unseen.jsonl` (the file's last 100 rows), the last two as `rlkd judge-check` reads them. Half
of each field's pairs match. A text's wording does not depend on the label: most plans have the
GSRM's own wording, most questions are questions. No pair has equal or empty texts, which need no
judge.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from examples.small_gsrm.judge_texts import move_plan, rephrase, retouch, twist, write_value
from examples.small_gsrm.mistakes import other_value
from examples.small_gsrm.pairs import write_rows
from examples.small_gsrm.plans import WORDINGS, operators, plan
from examples.small_gsrm.problems import Part, Problem, numbers, read_problems
from rlkd_plugin.gsrm import FIELDS, Field
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict

CHOOSE = 100
"""Problems that are kept apart to choose a threshold on."""
TRIES = 12
"""Tries to make a pair of a problem that needs a judge."""
_OTHER_SIGN = {"+": "*-", "-": "+/", "*": "+/", "/": "*-"}

Couple = tuple[str, str]


class JudgePair(TypedDict):
    """Two texts of a field, and whether they match."""

    domain: str
    field: Field
    first: str
    second: str
    match: bool


def _elsewhere(problem: Problem, place: int, rng: random.Random) -> int | None:
    places = [i for i in range(len(problem.parts)) if i != place]
    return rng.choice(places) if places else None


def _wordings(rng: random.Random) -> tuple[int, int]:
    """Return the wordings of two plans, whatever their label: mostly the GSRM's own for both."""
    return (0, 0) if rng.random() < 0.7 else (rng.randrange(WORDINGS), rng.randrange(WORDINGS))


def _plan_couple(problem: Problem, match: bool, rng: random.Random) -> Couple | None:
    parts = problem.parts
    place = rng.randrange(len(parts))
    one, other = _wordings(rng)
    first = plan(problem, parts, place, one)
    if match:
        second = plan(problem, _retell(parts, place, rng), place, other)
    elif rng.random() < 0.5:
        changed = _change_operation(parts, place, rng)
        if not changed or plan(problem, changed, place, one) == first:
            return None
        second = plan(problem, changed, place, other)
    else:
        away = _elsewhere(problem, place, rng)
        if away is None:
            return None
        second = plan(problem, _retell(parts, away, rng), away, other)
    return first, move_plan(second, rng)


def _retell(parts: Sequence[Part], place: int, rng: random.Random) -> tuple[Part, ...]:
    """Return the steps with this question retouched, a sum turned round, or later steps dropped."""
    part = parts[place]
    question, done = part.question, list(part.calculations)
    if rng.random() < 0.6:
        question = retouch(question, rng)
    turned = re.fullmatch(r"([\d.,]+)( ?[+*] ?)([\d.,]+)", done[0].expression)
    if turned and rng.random() < 0.4:
        done[0] = replace(done[0], expression=f"{turned[3]}{turned[2]}{turned[1]}")
    later = () if rng.random() < 0.4 else parts[place + 1 :]
    return (*parts[:place], Part(question, tuple(done)), *later)


def _change_operation(
    parts: Sequence[Part], place: int, rng: random.Random
) -> tuple[Part, ...] | None:
    """Return the steps with another operation in this one's first calculation."""
    first, *others = parts[place].calculations
    signs = operators(first.expression)
    if len(set(signs)) != 1 or "%" in first.expression:
        return None
    expression = rng.choice(_OTHER_SIGN[signs[0]]).join(numbers(first.expression))
    retold = _retell(parts, place, rng)
    changed = Part(retold[place].question, (replace(first, expression=expression), *others))
    return (*retold[:place], changed, *retold[place + 1 :])


def _question_couple(problem: Problem, match: bool, rng: random.Random) -> Couple | None:
    place = rng.randrange(len(problem.parts))
    question = problem.parts[place].question
    other: str | None = question
    if not match and rng.random() < 0.5:
        other = twist(question, rng)
    elif not match:
        away = _elsewhere(problem, place, rng)
        other = None if away is None else problem.parts[away].question
    if other is None:
        return None
    other = retouch(other, rng)
    return question, rephrase(other, rng) if rng.random() < 0.35 else other


def _answer_couple(problem: Problem, match: bool, rng: random.Random) -> Couple | None:
    place = rng.randrange(len(problem.parts))
    value = problem.parts[place].value
    if match:
        return value, write_value(value, problem.parts[place].question, rng)
    away = _elsewhere(problem, place, rng)
    new = other_value(value, rng)
    if away is not None and rng.random() < 0.3:
        new = problem.parts[away].value
    return None if new == value else (value, write_value(new, problem.parts[place].question, rng))


_MAKERS: dict[Field, Callable[[Problem, bool, random.Random], Couple | None]] = {
    "meta_reasoning": _plan_couple,
    "sub_problem": _question_couple,
    "answer": _answer_couple,
}


def label_pairs(problem: Problem, fields: Sequence[Field], seed: int = 0) -> Iterator[JudgePair]:
    """Yield a matched and an unmatched pair of each field; neither where one cannot be made."""
    for field in fields:
        matched = _make_couple(problem, field, True, seed)
        unmatched = _make_couple(problem, field, False, seed)
        if matched and unmatched:
            yield _row(field, matched, True)
            yield _row(field, unmatched, False)


def _make_couple(problem: Problem, field: Field, match: bool, seed: int) -> Couple | None:
    """Return two texts that need a judge, or None where no try gives any."""
    rng = random.Random(f"{seed} {problem.row} {field} {match}")
    for _ in range(TRIES):
        couple = _MAKERS[field](problem, match, rng)
        if couple and obvious_verdict(field, *couple) is None:
            return couple
    return None


def _row(field: Field, couple: Couple, match: bool) -> JudgePair:
    first, second = couple if random.Random(str(couple)).random() < 0.5 else couple[::-1]
    return {"domain": "math", "field": field, "first": first, "second": second, "match": match}


def distinct_pairs(problems: Iterable[Problem], seeds: Sequence[int]) -> Iterator[JudgePair]:
    """Yield the pairs of some problems; both of a couple are dropped where one is a duplicate."""
    seen: set[tuple[object, ...]] = set()
    for problem in problems:
        for seed in seeds:
            rows = list(label_pairs(problem, FIELDS, seed))
            for couple in zip(rows[::2], rows[1::2], strict=True):
                keys = {(row["field"], *sorted((row["first"], row["second"]))) for row in couple}
                if len(keys - seen) == 2:
                    yield from couple
                seen |= keys


def order_lessons(problems: Sequence[Problem]) -> list[JudgePair]:
    """Return the training pairs in order: answers first, where comparing is learned most easily."""
    first: list[JudgePair] = []
    then: list[JudgePair] = []
    for number, problem in enumerate(problems):
        answers = label_pairs(problem, ("answer",))
        (first if number % 5 < 3 else then).extend(answers)
        then += label_pairs(problem, ("meta_reasoning", "sub_problem"))
        if number % 2 == 0:  # plans are the hardest, and end a walk
            then += label_pairs(problem, ("meta_reasoning",), seed=1)
    shuffle = random.Random(3).shuffle
    shuffle(first)
    shuffle(then)
    return first + then


def training_row(pair: JudgePair) -> dict[str, object]:
    """Return a row for `swift sft`: the prompt that a judge is served, and its answer."""
    prompt = judge_prompt(pair["field"], pair["first"], pair["second"])
    word = "yes" if pair["match"] else "no"
    return {
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": word}]
    }


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--problems", type=int, default=150)
    options = parser.parse_args()
    train, unseen = read_problems(options.source)
    shuffled = random.Random(2).sample(train, len(train))
    choose, train = shuffled[:CHOOSE], shuffled[CHOOSE : CHOOSE + options.problems]
    options.out.mkdir(parents=True, exist_ok=True)
    write_rows(options.out / "judge_train.jsonl", map(training_row, order_lessons(train)))
    write_rows(options.out / "judge_choose.jsonl", distinct_pairs(choose, (0,)))
    write_rows(options.out / "judge_unseen.jsonl", distinct_pairs(unseen, (0, 1)))


if __name__ == "__main__":
    main()
