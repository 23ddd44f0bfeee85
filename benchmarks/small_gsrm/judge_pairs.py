"""Labelled pairs for a judge: the same step in other words, and steps that differ in what counts.

    python benchmarks/small_gsrm/judge_pairs.py gsm8k_socratic.jsonl OUT [--problems 330]

Writes `judge_train.jsonl` (rows for `swift sft`: the judge's prompt and its yes or no),
`judge_choose.jsonl` (100 other problems, on which a threshold may be chosen) and
`judge_unseen.jsonl` (the file's last 100 rows), the last two as `rlkd judge-check` reads them. Half
of each field's pairs match. A pair that the text rules decide is not among them.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from goals import goal
from mistakes import other_value
from pairs import write
from plans import WORDINGS, operators, plan
from problems import Part, Problem, numbers, read_problems

from rlkd_plugin.gsrm import FIELDS, Field
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict

CHOOSE = 100
"""Problems that are kept apart to choose a threshold on."""
TRIES = 8
_OTHER_SIGN = {"+": "*-", "-": "+/", "*": "+/", "/": "*-"}
_TWISTS = (
    *(("first", "second"), ("second", "third"), ("more", "fewer"), ("before", "after")),
    *(("day", "week"), ("week", "month"), ("month", "year"), ("cost", "weigh"), ("left", "used")),
    *(
        ("each", "all"),
        ("total", "average"),
        ("buy", "sell"),
        ("hours", "minutes"),
        ("old", "tall"),
    ),
    *(("Monday", "Friday"), ("Saturday", "Sunday"), ("remaining", "missing"), ("spend", "earn")),
    *(("per day", "per month"), ("boys", "girls"), ("men", "women"), ("half", "third")),
)
_EXTRAS = re.compile(r"\s+(?:in total|altogether|total|in all|together)(?=[?.]?$)")

Told = tuple[str, str]


def rephrased(question: str, rng: random.Random) -> str:
    """Return a sub-question in other words."""
    said = goal(question)
    if said.startswith("the answer to"):
        return f"What is {said}?"
    noun = re.sub(r"^how many ", "the number of ", said)
    noun = re.sub(r"^how much (?=money|time|water|food)", "the amount of ", noun)
    forms = [f"Find {said}.", f"What has to be found is {said}.", f"We ask {said}."]
    if noun != said:
        forms += [f"What is {noun}?", f"Calculate {noun}."] * 2
    shorter = _EXTRAS.sub("", question.rstrip("?")) + "?"
    if shorter != question:
        forms.append(shorter)
    return rng.choice(forms)


def twisted(question: str, rng: random.Random) -> str | None:
    """Return a sub-question that asks for something else in nearly the same words."""
    number = re.search(r"\b\d+\b", question)
    if number and rng.random() < 0.7:
        return question.replace(number[0], other_value(number[0], rng), 1)
    for one, other in rng.sample(_TWISTS, len(_TWISTS)):
        for old, new in ((one, other), (other, one)):
            if re.search(rf"\b{old}\b", question):
                return re.sub(rf"\b{old}\b", new, question, count=1)
    return None


def _other(problem: Problem, place: int, rng: random.Random) -> int | None:
    places = [i for i in range(len(problem.parts)) if i != place]
    return rng.choice(places) if places else None


def _plans(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    parts = problem.parts
    place = rng.randrange(len(parts))
    one, other = rng.sample(range(WORDINGS), 2)
    first = plan(problem, parts, place, one)
    if match:
        return first, plan(problem, _told_anew(parts, place, rng), place, other)
    if rng.random() < 0.5:
        changed = _done_otherwise(parts, place, rng)
        second = changed and plan(problem, changed, place, rng.choice((one, other)))
        same = changed and plan(problem, changed, place, one) == first
        return None if not second or same else (first, second)
    elsewhere = _other(problem, place, rng)
    if elsewhere is None:
        return None
    return first, plan(problem, parts, elsewhere, rng.choice((one, other)))


def _told_anew(parts: Sequence[Part], place: int, rng: random.Random) -> tuple[Part, ...]:
    """Return the steps: this question shorter, a sum turned round, or what follows left out."""
    part = parts[place]
    question, done = part.question, list(part.calculations)
    if rng.random() < 0.4:
        question = _EXTRAS.sub("", question.rstrip("?")) + "?"
    turned = re.fullmatch(r"([\d.,]+)( ?[+*] ?)([\d.,]+)", done[0].expression)
    if turned and rng.random() < 0.4:
        done[0] = replace(done[0], expression=f"{turned[3]}{turned[2]}{turned[1]}")
    later = () if rng.random() < 0.4 else parts[place + 1 :]
    return (*parts[:place], Part(question, tuple(done)), *later)


def _done_otherwise(
    parts: Sequence[Part], place: int, rng: random.Random
) -> tuple[Part, ...] | None:
    """Return the steps with another operation in this one's first calculation."""
    part = parts[place]
    first, *others = part.calculations
    signs = operators(first.expression)
    if len(set(signs)) != 1 or "%" in first.expression:
        return None
    sign = rng.choice(_OTHER_SIGN[signs[0]])
    expression = sign.join(numbers(first.expression))
    changed = Part(part.question, (replace(first, expression=expression), *others))
    return (*parts[:place], changed, *parts[place + 1 :])


def _questions(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    place = rng.randrange(len(problem.parts))
    question = problem.parts[place].question
    if match:
        return question, rephrased(question, rng)
    if rng.random() < 0.5:
        other = twisted(question, rng)
    else:
        elsewhere = _other(problem, place, rng)
        other = None if elsewhere is None else problem.parts[elsewhere].question
    if other is None:
        return None
    return question, rephrased(other, rng) if rng.random() < 0.5 else other


def _answers(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    place = rng.randrange(len(problem.parts))
    value = problem.parts[place].value
    if match:
        return value, _as_written(value, problem.parts[place].question, rng)
    elsewhere = _other(problem, place, rng)
    new = other_value(value, rng)
    if elsewhere is not None and rng.random() < 0.3:
        new = problem.parts[elsewhere].value
    if new == value:
        return None
    wrong = _as_written(new, problem.parts[place].question, rng) if rng.random() < 0.5 else new
    return value, wrong


def _as_written(value: str, question: str, rng: random.Random) -> str:
    """Return a value in another notation, or with its unit."""
    thing = re.match(r"How many (?:more |fewer |total )?([a-z]+)\b", question)
    unit = thing[1] if thing else "dollars" if question.startswith("How much") else "in all"
    forms = [f"{value} {unit}", f"= {value}", f"x = {value}", f"it is {value}"]
    if unit == "dollars":
        forms += [f"${value}", f"{value} $"]
    if "." not in value:
        forms += [f"{value}.0"] + ([f"{int(value):,}"] * 2 if len(value) > 3 else [])
    return rng.choice(forms)


_MAKERS: dict[Field, Callable[[Problem, bool, random.Random], Told | None]] = {
    "meta_reasoning": _plans,
    "sub_problem": _questions,
    "answer": _answers,
}


def labelled(
    problem: Problem, fields: Sequence[Field], seed: int = 0
) -> Iterator[dict[str, object]]:
    """Yield a matched and an unmatched pair of each field; neither where one cannot be made."""
    for field in fields:
        made = []
        for match in (True, False):
            rng = random.Random(f"{seed} {problem.row} {field} {match}")
            tries = (_MAKERS[field](problem, match, rng) for _ in range(TRIES))
            good = (told for told in tries if told and obvious_verdict(field, *told) is None)
            made.append((next(good, None), match))
        if all(told for told, _ in made):
            for told, match in made:
                first, second = told if random.Random(str(told)).random() < 0.5 else told[::-1]
                yield {
                    "domain": "math",
                    "field": field,
                    "first": first,
                    "second": second,
                    "match": match,
                }


def training_row(pair: dict[str, object]) -> dict[str, object]:
    """Return a row for `swift sft`: the prompt that a judge is served, and its word."""
    prompt = judge_prompt(pair["field"], pair["first"], pair["second"])
    said = "yes" if pair["match"] else "no"
    return {
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": said}]
    }


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--problems", type=int, default=330)
    options = parser.parse_args()
    train, unseen = read_problems(options.source)
    shuffled = random.Random(2).sample(train, len(train))
    choose, train = shuffled[:CHOOSE], shuffled[CHOOSE : CHOOSE + options.problems]
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = [
        pair
        for number, problem in enumerate(train)  # plans are the hardest, and end a walk
        for pair in labelled(problem, FIELDS if number % 2 == 0 else FIELDS[:1])
    ]
    random.Random(3).shuffle(pairs)
    write(options.out / "judge_train.jsonl", map(training_row, pairs))
    write(options.out / "judge_choose.jsonl", (p for one in choose for p in labelled(one, FIELDS)))
    write(
        options.out / "judge_unseen.jsonl",
        (p for one in unseen for seed in (0, 1) for p in labelled(one, FIELDS, seed)),
    )


if __name__ == "__main__":
    main()
