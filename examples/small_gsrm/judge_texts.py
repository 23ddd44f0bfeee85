"""Texts for a judge's pairs: the same in other words, and questions that ask something else."""

import random
import re

from examples.small_gsrm.goals import goal
from examples.small_gsrm.mistakes import other_value

_TWISTS = tuple(
    (pair.partition(":")[0], pair.partition(":")[2])
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


def rephrase(question: str, rng: random.Random) -> str:
    """Return a sub-question as a demand, or as a question of another form."""
    wanted = goal(question)
    if wanted.startswith("the answer to"):
        return f"What is {wanted}?"
    forms = [f"Find {wanted}.", f"What has to be found is {wanted}.", f"We ask {wanted}."]
    if wanted.startswith("how many ") and not _INVERTED.match(wanted):
        noun = wanted.replace("how many ", "the number of ", 1)
        forms += [f"What is {noun}?", f"Calculate {noun}."] * 2
    return rng.choice(forms)


def retouch(question: str, rng: random.Random) -> str:
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


def twist(question: str, rng: random.Random) -> str | None:
    """Return a sub-question that asks for something else in nearly the same words."""
    number = re.search(r"\b\d+\b", question)
    if number and rng.random() < 0.7:
        return question.replace(number[0], other_value(number[0], rng), 1)
    for one, other in rng.sample(_TWISTS, len(_TWISTS)):
        for old, new in ((one, other), (other, one)):
            if re.search(rf"\b{old}\b", question):
                return re.sub(rf"\b{old}\b", new, question, count=1)
    return None


def move_plan(text: str, rng: random.Random) -> str:
    """Return a plan as another path may have it: earlier or later, its values known otherwise."""
    lead = next((words for words in _LEADS if text.startswith(words)), "")
    if lead and rng.random() < 0.5:
        text = text.replace(lead, rng.choice(_LEADS), 1)
    kinds = [kind for kind in _KINDS if kind in text]
    if kinds and rng.random() < 0.35:
        text = text.replace(rng.choice(kinds), rng.choice(_KINDS), 1)
    return text


def write_value(value: str, question: str, rng: random.Random) -> str:
    """Return a value in another notation, or with its unit."""
    thing = re.match(r"How many (?:more |fewer |total )?([a-z]+)\b", question)
    unit = thing[1] if thing else "dollars" if question.startswith("How much") else "in all"
    forms = [f"{value} {unit}", f"= {value}", f"x = {value}", f"it is {value}"]
    if unit == "dollars":
        forms += [f"${value}", f"{value} $"]
    if "." not in value:
        forms += [f"{value}.0"] + ([f"{int(value):,}"] * 2 if len(value) > 3 else [])
    return rng.choice(forms)
