"""The sentences of the miniature's word problems: settings, and the kinds of events in them.

A problem is a start, events and a question. Each kind of event has its own operation, its own
sentences in each setting, and its own name for the step that computes it. The names of two kinds
share no word but that of the operation, so that the rules engine's word match tells them apart.
"""

from dataclasses import dataclass

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas")


@dataclass(frozen=True)
class Setting:
    """A family of problems: what is counted, and how its events are told.

    Attributes:
        thing: what is counted, in the plural.
        starts: sentences with `{n}`, what there is at first.
        events: by kind, sentences with `{b}` and, for bags, `{c}`.
        distractors: sentences with `{n}` that change nothing.
        question: what is asked.
    """

    thing: str
    starts: tuple[str, ...]
    events: dict[str, tuple[str, ...]]
    distractors: tuple[str, ...]
    question: str


STEP_NAMES = {
    "buy": ("Buying more", "More were bought"),
    "find": ("Found outside", "Outside some were found"),
    "give": ("Giving away", "Some given away"),
    "lose": ("Broken ones gone", "Without broken ones"),
    "inside": ("Inside bags", "Bags hold inside"),
    "pack": ("Whole delivery joined", "Joined by whole delivery"),
    "double": ("Twice as large", "Growing twice as large"),
    "half": ("Selling half", "Half gets sold"),
    "gains": ("Both gains together", "Together both gains"),
    "gained": ("Increase counted once", "Once counted increase"),
    "losses": ("Losses summed beforehand", "Beforehand losses summed"),
    "lost": ("Decrease taken off", "Taken off as decrease"),
}
"""By kind of step, its name in the teacher's words, and in other words."""

SETTINGS = {
    "market": Setting(
        thing="apples",
        starts=(
            "{name} has {n} apples at the market.",
            "At the market {name} starts with {n} apples.",
        ),
        events={
            "buy": ("{name} buys {b} more apples.", "Then {b} apples are bought."),
            "find": ("{name} finds {b} apples under a tree.", "Under a tree there are {b} apples."),
            "give": ("{name} gives {b} apples to a friend.", "A friend takes {b} apples."),
            "lose": ("{b} apples are rotten.", "Of these {b} apples go bad."),
            "bags": (
                "{b} bags with {c} apples each arrive.",
                "{name} gets {b} bags of {c} apples.",
            ),
            "double": ("A neighbour brings as many apples again.", "Then the apples are doubled."),
            "half": ("{name} sells half of the apples.", "Half of the apples are sold."),
        },
        distractors=("The market opens at {n}.", "{name} has {n} cousins."),
        question="How many apples are there now?",
    ),
    "library": Setting(
        thing="books",
        starts=("The library of {name} has {n} books.", "There are {n} books in {name}'s library."),
        events={
            "buy": ("The library buys {b} books.", "Then {b} new books are bought."),
            "find": ("{b} books turn up in the cellar.", "{name} finds {b} books in a box."),
            "give": ("{b} books are lent to a school.", "{name} gives {b} books to a school."),
            "lose": ("{b} books fall apart.", "The rain ruins {b} books."),
            "bags": (
                "{b} parcels with {c} books each come.",
                "{name} gets {b} parcels of {c} books.",
            ),
            "double": ("Another library gives as many books again.", "Then the books are doubled."),
            "half": ("Half of the books are sold.", "{name} sells half of the books."),
        },
        distractors=("The library is {n} years old.", "It is open {n} hours a day."),
        question="How many books does the library have in the end?",
    ),
    "garden": Setting(
        thing="flowers",
        starts=("{name} grows {n} flowers.", "In the garden of {name} stand {n} flowers."),
        events={
            "buy": ("{name} buys {b} flowers.", "{b} more flowers are bought and planted."),
            "find": ("{b} flowers come up by themselves.", "{name} finds {b} wild flowers."),
            "give": ("{name} gives {b} flowers to a friend.", "A friend is given {b} flowers."),
            "lose": ("The storm breaks {b} flowers.", "{b} flowers dry out."),
            "bags": (
                "{name} plants {b} rows of {c} flowers.",
                "{b} rows with {c} flowers are added.",
            ),
            "double": (
                "In spring there are twice as many flowers.",
                "Then the flowers are doubled.",
            ),
            "half": ("{name} sells half of the flowers.", "Half of the flowers are sold."),
        },
        distractors=("The garden is {n} steps long.", "{name} waters it {n} times a week."),
        question="How many flowers are left in the garden?",
    ),
    "coins": Setting(
        thing="coins",
        starts=("{name} has {n} coins.", "There are {n} coins in the box of {name}."),
        events={
            "buy": ("{name} buys {b} coins.", "A shop sells {name} {b} coins."),
            "find": ("{name} finds {b} coins on the street.", "{b} coins lie on the street."),
            "give": ("{name} gives away {b} coins.", "A brother is given {b} coins."),
            "lose": ("{name} loses {b} coins.", "{b} coins are lost."),
            "bags": (
                "{b} bags with {c} coins each are added.",
                "{name} gets {b} bags of {c} coins.",
            ),
            "double": ("A game doubles the coins.", "{name} wins as many coins again."),
            "half": ("{name} spends half of the coins.", "Half of the coins are spent."),
        },
        distractors=("The box weighs {n} grams.", "{name} is {n} years old."),
        question="How many coins does {name} have?",
    ),
}
