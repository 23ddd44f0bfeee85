"""Multi-step word problems, each with its plan, its steps and its answer, all of them computed.

A problem starts with a number of things; each event changes it. The teacher computes event after
event, or, where two gains or two losses follow each other, sometimes both together first: two plans
with the same answer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from examples.miniature.stories import NAMES, SETTINGS, STEP_NAMES, Setting
from rlkd_plugin.gsrm import Step, Structure

KINDS = ("buy", "find", "give", "lose", "bags", "double", "half")
PAIRED = {"buy": "gain", "find": "gain", "give": "loss", "lose": "loss"}
"""Kinds of which two that follow each other can be computed together."""
TOGETHER = 0.3
"""How often the teacher does so, where it can."""
DISTRACTED = 0.3
"""The share of problems with a sentence that changes nothing."""
OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}


@dataclass(frozen=True)
class Numbers:
    """The ranges that numbers are drawn from, both ends included.

    Attributes:
        start: things at first.
        change: things that come or go.
        bags: bags of an event.
        each: things in a bag.
        largest: no step's result is larger; none is below 1.
    """

    start: tuple[int, int]
    change: tuple[int, int]
    bags: tuple[int, int]
    each: tuple[int, int]
    largest: int


TWO_DIGITS = Numbers(start=(4, 60), change=(2, 25), bags=(2, 6), each=(2, 9), largest=99)
SMALL = Numbers(start=(4, 25), change=(2, 12), bags=(2, 4), each=(2, 5), largest=40)
"""For a student that learns arithmetic from nothing: under a thousand sums to remember."""


@dataclass(frozen=True)
class Event:
    """What happens: `b` things, for bags `b` bags of `c` things; 0 where a kind has no number."""

    kind: str
    b: int = 0
    c: int = 0

    def after(self, count: int) -> int:
        """Return how many things there are then, of `count` before."""
        match self.kind:
            case "buy" | "find":
                return count + self.b
            case "give" | "lose":
                return count - self.b
            case "bags":
                return count + self.b * self.c
            case "double":
                return 2 * count
            case _:
                return count // 2


@dataclass(frozen=True)
class Computation:
    """A step of a path: `left operation right = result`, under the name of its kind."""

    kind: str
    left: int
    operation: str
    right: int

    @property
    def result(self) -> int:
        """The value of the step."""
        match self.operation:
            case "+":
                return self.left + self.right
            case "-":
                return self.left - self.right
            case "*":
                return self.left * self.right
            case _:
                return self.left // self.right

    def sentence(self, wording: int = 0) -> str:
        """Return the sentence of the path; wording 0 is the teacher's."""
        equation = f"{self.left} {self.operation} {self.right} = {self.result}"
        return f"{STEP_NAMES[self.kind][wording]}: {equation}."

    def step(self, wording: int = 0) -> Step:
        """Return the step that a GSRM has to read off the sentence."""
        return Step(
            f"{STEP_NAMES[self.kind][wording]} (by {OPERATIONS[self.operation]})",
            f"What is {self.left} {self.operation} {self.right}?",
            str(self.result),
        )


@dataclass(frozen=True)
class Problem:
    """A word problem.

    Attributes:
        setting: its family, a key of `SETTINGS`.
        text: what the student reads.
        start: things at first.
        events: what happens.
        together: the place of the first of two events that the teacher computes together, or None.
    """

    setting: str
    text: str
    start: int
    events: tuple[Event, ...]
    together: int | None = None

    @property
    def steps(self) -> tuple[Computation, ...]:
        """The teacher's steps."""
        return computations(self.start, self.events, self.together)

    @property
    def answer(self) -> int:
        """How many things there are in the end."""
        return self.steps[-1].result

    @property
    def path(self) -> str:
        """The teacher's reasoning path."""
        return path_of(self.steps)

    @property
    def structure(self) -> Structure:
        """The structure of the teacher's path."""
        return Structure(tuple(step.step() for step in self.steps), str(self.answer))

    def other_plans(self) -> list["Problem"]:
        """Return the same problem with each other plan that it has."""
        places = [None, *pairs_of(self.events)]
        return [replace(self, together=place) for place in places if place != self.together]

    def row(self) -> dict[str, str]:
        """Return the row of a training set, in the plugin's format."""
        return {
            "problem": self.text,
            "domain": "math",
            "teacher_reasoning": self.path,
            "solution": f"\\boxed{{{self.answer}}}",
        }


def path_of(steps: Sequence[Computation], wording: int = 0) -> str:
    """Return the reasoning path of steps, with the last one's result as its answer."""
    sentences = [step.sentence(wording) for step in steps]
    return " ".join([*sentences, f"So \\boxed{{{steps[-1].result}}}."])


def pairs_of(events: Sequence[Event]) -> list[int]:
    """Return the places of two events that can be computed together: two gains or two losses."""
    kinds = [PAIRED.get(event.kind) for event in events]
    return [i for i, (one, other) in enumerate(pairwise(kinds)) if one and one == other]


def computations(
    start: int, events: Sequence[Event], together: int | None = None
) -> tuple[Computation, ...]:
    """Return the steps of a plan: event after event, but two of them at once at `together`."""
    steps: list[Computation] = []
    count, place = start, 0
    while place < len(events):
        event = events[place]
        if place == together:
            is_gain = PAIRED[event.kind] == "gain"
            both = Computation("gains" if is_gain else "losses", event.b, "+", events[place + 1].b)
            kind, sign = ("gained", "+") if is_gain else ("lost", "-")
            steps += [both, Computation(kind, count, sign, both.result)]
            place += 1
        elif event.kind == "bags":
            inside = Computation("inside", event.b, "*", event.c)
            steps += [inside, Computation("pack", count, "+", inside.result)]
        else:
            operation, number = {
                "buy": ("+", event.b),
                "find": ("+", event.b),
                "give": ("-", event.b),
                "lose": ("-", event.b),
                "double": ("*", 2),
                "half": ("/", 2),
            }[event.kind]
            steps.append(Computation(event.kind, count, operation, number))
        count = steps[-1].result
        place += 1
    return tuple(steps)


class Generator:
    """Draws problems, none of them twice."""

    def __init__(self, seed: int, numbers: Numbers = TWO_DIGITS) -> None:
        self.chance = random.Random(seed)
        self.numbers = numbers
        self.seen: set[str] = set()

    def draw(
        self,
        count: int,
        steps: Sequence[int],
        *,
        without: frozenset[tuple[str, str]] = frozenset(),
        needs: frozenset[tuple[str, str]] = frozenset(),
    ) -> list[Problem]:
        """Return so many problems.

        Args:
            count: of problems.
            steps: numbers of steps, taken in turn.
            without: pairs of kinds that never follow each other.
            needs: pairs of kinds of which one has to follow the other somewhere, if any are named.
        """
        problems: list[Problem] = []
        while len(problems) < count:
            problem = self._problem(steps[len(problems) % len(steps)])
            if problem is None or problem.text in self.seen:
                continue
            kinds = [event.kind for event in problem.events]
            following = set(pairwise(kinds))
            if following & without or (needs and not following & needs):
                continue
            self.seen.add(problem.text)
            problems.append(problem)
        return problems

    def _problem(self, steps: int) -> Problem | None:
        """Return a problem with so many steps, or None where a number leaves its range."""
        name, key = self.chance.choice(NAMES), self.chance.choice(list(SETTINGS))
        start = self.chance.randint(*self.numbers.start)
        events: list[Event] = []
        count = start
        while (left := steps - len(computations(start, events))) > 0:
            event = self._event(count, left)
            if event is None:
                return None
            events.append(event)
            count = event.after(count)
        pairs = pairs_of(events)
        together = self.chance.choice(pairs) if pairs and self.chance.random() < TOGETHER else None
        text = self._text(SETTINGS[key], name, start, events)
        return Problem(key, text, start, tuple(events), together)

    def _event(self, count: int, left: int) -> Event | None:
        """Return an event that is possible with `count` things and `left` steps."""
        kind = self.chance.choice(KINDS)
        event = Event(kind)
        if kind == "bags":
            randint = self.chance.randint
            event = Event(kind, randint(*self.numbers.bags), randint(*self.numbers.each))
        elif kind in PAIRED:
            event = Event(kind, self.chance.randint(*self.numbers.change))
        is_odd = kind == "half" and count % 2 == 1
        is_long = kind == "bags" and left < 2
        is_in_range = 1 <= event.after(count) <= self.numbers.largest
        return event if is_in_range and not is_odd and not is_long else None

    def _text(self, setting: Setting, name: str, start: int, events: Sequence[Event]) -> str:
        """Return the words of a problem."""
        say = self.chance.choice
        sentences = [say(setting.starts).format(name=name, n=start)]
        sentences += [
            say(setting.events[event.kind]).format(name=name, b=event.b, c=event.c)
            for event in events
        ]
        if self.chance.random() < DISTRACTED:
            place = self.chance.randint(1, len(sentences))
            other = say(setting.distractors).format(name=name, n=self.chance.randint(2, 12))
            sentences.insert(place, other)
        return " ".join([*sentences, setting.question.format(name=name)])
