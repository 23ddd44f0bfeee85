"""Labelled pairs for a judge: the same step in other words, and steps that differ in what counts.

    python examples/small_gsrm/judge_pairs.py gsm8k_socratic.jsonl OUT [--problems 150]

Writes `judge_train.jsonl` (rows for `swift sft`: the judge's prompt and its yes or no),
`judge_choose.jsonl` (100 other problems, on which a threshold may be chosen) and
`judge_unseen.jsonl` (the file's last 100 rows), the last two as `rlkd judge-check` reads them. Half
of each field's pairs match. How a text is worded does not depend on the label: most plans have the
GSRM's own wording, most questions are questions. Texts that are equal or empty need no judge, so
no such pair is among them.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
TRIES = 12
_OTHER_SIGN = {"+": "*-", "-": "+/", "*": "+/", "/": "*-"}
_TWISTS = tuple(
    pair.split(":")
    for pair in """first:second second:third more:fewer before:after day:week week:month month:year
    cost:weigh left:used each:all total:average buy:sell hours:minutes old:tall Monday:Friday
    Saturday:Sunday remaining:missing spend:earn boys:girls men:women half:third""".split()
)
_EXTRAS = re.compile(r"\s+(?:in total|altogether|total|in all|together)(?=[?.]?$)")
_TENSES = {"does": "did", "do": "did", "did": "does", "is": "was", "are": "were", "was": "is"}
_NAME = re.compile(r"(?<=[a-z] )[A-Z][a-z]+\b(?! [A-Z])('s)?")
_LEADS = ("Start with", "Next, find", "Last, find")
_KINDS = ("a value of the problem", "a known value", "the last result", "an earlier result")
_INVERTED = re.compile(r"how many (?:[\w'-]+ ){1,4}?(?:is|are|was|were|has|have|had|can|will)\b")

Told = tuple[str, str]


def rephrased(question: str, rng: random.Random) -> str:
    """Return a sub-question as a demand, or as a question of another form."""
    said = goal(question)
    if said.startswith("the answer to"):
        return f"What is {said}?"
    forms = [f"Find {said}.", f"What has to be found is {said}.", f"We ask {said}."]
    if said.startswith("how many ") and not _INVERTED.match(said):
        noun = said.replace("how many ", "the number of ", 1)
        forms += [f"What is {noun}?", f"Calculate {noun}."] * 2
    return rng.choice(forms)


def retouched(question: str, rng: random.Random) -> str:
    """Return a sub-question that asks the same, with a pronoun, another tense, or a word less."""
    name = _NAME.search(question)
    if name and rng.random() < 0.6:
        one, whose = rng.choice((("she", "her"), ("he", "his"), ("they", "their")))
        question = question[: name.start()] + (whose if name[1] else one) + question[name.end() :]
    first = next((word for word in question.split() if word in _TENSES), "")
    if first and rng.random() < 0.5:
        question = re.sub(rf"\b{first}\b", _TENSES[first], question, count=1)
    bare = question.rstrip("?")
    if _EXTRAS.search(bare):
        return _EXTRAS.sub("", bare) + "?" if rng.random() < 0.7 else question
    more = rng.choice(("", "", " in total", " altogether"))
    return f"{bare}{more}?" if bare.startswith("How many") else question


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


def _elsewhere(problem: Problem, place: int, rng: random.Random) -> int | None:
    places = [i for i in range(len(problem.parts)) if i != place]
    return rng.choice(places) if places else None


def _wordings(rng: random.Random) -> tuple[int, int]:
    """Return the wordings of two plans, whatever their label: mostly the GSRM's own for both."""
    return (0, 0) if rng.random() < 0.7 else (rng.randrange(WORDINGS), rng.randrange(WORDINGS))


def _plans(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    parts = problem.parts
    place = rng.randrange(len(parts))
    one, other = _wordings(rng)
    first = plan(problem, parts, place, one)
    if match:
        second = plan(problem, _told_anew(parts, place, rng), place, other)
    elif rng.random() < 0.5:
        changed = _done_otherwise(parts, place, rng)
        if not changed or plan(problem, changed, place, one) == first:
            return None
        second = plan(problem, changed, place, other)
    else:
        away = _elsewhere(problem, place, rng)
        if away is None:
            return None
        second = plan(problem, _told_anew(parts, away, rng), away, other)
    return first, _placed_anew(second, rng)


def _placed_anew(said: str, rng: random.Random) -> str:
    """Return a plan as another path may have it: earlier or later, its values known otherwise."""
    lead = next((words for words in _LEADS if said.startswith(words)), "")
    if lead and rng.random() < 0.5:
        said = said.replace(lead, rng.choice(_LEADS), 1)
    kinds = [kind for kind in _KINDS if kind in said]
    if kinds and rng.random() < 0.35:
        said = said.replace(rng.choice(kinds), rng.choice(_KINDS), 1)
    return said


def _told_anew(parts: Sequence[Part], place: int, rng: random.Random) -> tuple[Part, ...]:
    """Return the steps: this question retouched, a sum turned round, or what follows left out."""
    part = parts[place]
    question, done = part.question, list(part.calculations)
    if rng.random() < 0.6:
        question = retouched(question, rng)
    turned = re.fullmatch(r"([\d.,]+)( ?[+*] ?)([\d.,]+)", done[0].expression)
    if turned and rng.random() < 0.4:
        done[0] = replace(done[0], expression=f"{turned[3]}{turned[2]}{turned[1]}")
    later = () if rng.random() < 0.4 else parts[place + 1 :]
    return (*parts[:place], Part(question, tuple(done)), *later)


def _done_otherwise(
    parts: Sequence[Part], place: int, rng: random.Random
) -> tuple[Part, ...] | None:
    """Return the steps with another operation in this one's first calculation."""
    first, *others = parts[place].calculations
    signs = operators(first.expression)
    if len(set(signs)) != 1 or "%" in first.expression:
        return None
    expression = rng.choice(_OTHER_SIGN[signs[0]]).join(numbers(first.expression))
    anew = _told_anew(parts, place, rng)
    changed = Part(anew[place].question, (replace(first, expression=expression), *others))
    return (*anew[:place], changed, *anew[place + 1 :])


def _questions(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    place = rng.randrange(len(problem.parts))
    question = problem.parts[place].question
    other: str | None = question
    if not match and rng.random() < 0.5:
        other = twisted(question, rng)
    elif not match:
        away = _elsewhere(problem, place, rng)
        other = None if away is None else problem.parts[away].question
    if other is None:
        return None
    other = retouched(other, rng)
    return question, rephrased(other, rng) if rng.random() < 0.35 else other


def _answers(problem: Problem, match: bool, rng: random.Random) -> Told | None:
    place = rng.randrange(len(problem.parts))
    value = problem.parts[place].value
    if match:
        return value, _as_written(value, problem.parts[place].question, rng)
    away = _elsewhere(problem, place, rng)
    new = other_value(value, rng)
    if away is not None and rng.random() < 0.3:
        new = problem.parts[away].value
    return None if new == value else (value, _as_written(new, problem.parts[place].question, rng))


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
        made: list[tuple[Told | None, bool]] = []
        for match in (True, False):
            rng = random.Random(f"{seed} {problem.row} {field} {match}")
            tries = (_MAKERS[field](problem, match, rng) for _ in range(TRIES))
            good = (told for told in tries if told and obvious_verdict(field, *told) is None)
            made.append((next(good, None), match))
        if not all(told for told, _ in made):
            continue
        for told, match in made:
            first, second = told if random.Random(str(told)).random() < 0.5 else told[::-1]
            texts = {"first": first, "second": second}
            yield {"domain": "math", "field": field, **texts, "match": match}


def distinct(problems: Iterable[Problem], seeds: Sequence[int]) -> Iterator[dict[str, object]]:
    """Yield the pairs of some problems; a couple with a pair that was there already is left out."""
    seen: set[tuple[object, ...]] = set()
    for problem in problems:
        for seed in seeds:
            rows = list(labelled(problem, FIELDS, seed))
            for couple in zip(rows[::2], rows[1::2], strict=True):
                keys = {(r["field"], *sorted((r["first"], r["second"]))) for r in couple}
                if len(keys - seen) == 2:
                    yield from couple
                seen |= keys


def lessons(problems: Sequence[Problem]) -> list[dict[str, object]]:
    """Return the training pairs in order: answers first, where comparing is learned most easily."""
    first: list[dict[str, object]] = []
    then: list[dict[str, object]] = []
    for number, problem in enumerate(problems):
        answers = labelled(problem, ("answer",))
        (first if number % 5 < 3 else then).extend(answers)
        then += labelled(problem, ("meta_reasoning", "sub_problem"))
        if number % 2 == 0:  # plans are the hardest, and end a walk
            then += labelled(problem, ("meta_reasoning",), seed=1)
    shuffle = random.Random(3).shuffle
    shuffle(first)
    shuffle(then)
    return first + then


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
    parser.add_argument("--problems", type=int, default=150)
    options = parser.parse_args()
    train, unseen = read_problems(options.source)
    shuffled = random.Random(2).sample(train, len(train))
    choose, train = shuffled[:CHOOSE], shuffled[CHOOSE : CHOOSE + options.problems]
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "judge_train.jsonl", map(training_row, lessons(train)))
    write(options.out / "judge_choose.jsonl", distinct(choose, (0,)))
    write(options.out / "judge_unseen.jsonl", distinct(unseen, (0, 1)))


if __name__ == "__main__":
    main()
