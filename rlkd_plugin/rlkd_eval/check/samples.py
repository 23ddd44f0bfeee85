"""The paths that `rlkd check` gives to a GSRM, and the texts that it gives to a judge."""

from dataclasses import dataclass

from rlkd_plugin.gsrm import FIELDS, Field


@dataclass(frozen=True, slots=True)
class SamplePath:
    """A reasoning path of two steps in a domain, and a text that its structure must contain."""

    domain: str
    problem: str
    path: str
    result: str


@dataclass(frozen=True, slots=True)
class SamplePair:
    """Two texts of a field, and whether they match.

    `kind` is "equal" (except letter case and full stop), "same" (in other words) or "other".
    """

    kind: str
    field: Field
    teacher: str
    student: str

    @property
    def match(self) -> bool:
        """Whether a judge should say yes."""
        return self.kind != "other"


PATHS = (
    SamplePath(
        "math",
        "A crate holds 6 rows of 4 bottles. 5 bottles are broken. How many are whole?",
        "First I count all the bottles in the crate: 6 * 4 = 24 bottles.\n"
        "Then I take away the broken ones: 24 - 5 = 19 bottles are whole.",
        "19",
    ),
    SamplePath(
        "science",
        "A stone of 2 kg falls from rest for 3 s, with g = 10 m/s^2. What is its kinetic energy?",
        "First I find its speed after 3 s: v = g * t = 10 * 3 = 30 m/s.\n"
        "Then I find its kinetic energy: E = m * v^2 / 2 = 2 * 900 / 2 = 900 J.",
        "900",
    ),
    SamplePath(
        "code",
        "Write a Python function total(numbers) that returns the sum of its even numbers.",
        "First I keep the even numbers of the list: even = [n for n in numbers if n % 2 == 0]\n"
        "Then I add them up and return the result: return sum(even)",
        "sum",
    ),
    SamplePath(
        "puzzle",
        "Ann, Bob and Cid stand in a row. Cid stands at the right end, Bob stands left of Ann. Who "
        "stands at the left end?",
        "Cid stands at the right end, so Ann and Bob have the two places left of Cid.\n"
        "Bob stands left of Ann, so Ann stands in the middle and Bob stands at the left end.",
        "Bob",
    ),
)

_TEACHER = (
    "Count all bottles by multiplying the rows with the bottles of a row.",
    "How many bottles are in the crate?",
    "24 bottles",
)
_STUDENTS = {
    "equal": (
        "count all bottles by multiplying the rows with the bottles of a row",
        "how many bottles are in the crate",
        "24 bottles.",
    ),
    "same": (
        "Multiply rows by bottles in a row to get all of them.",
        "How many bottles in all?",
        "24.",
    ),
    "other": (
        "Divide the price by the weight.",
        "What does one kilogram cost?",
        "7 dollars",
    ),
}

PAIRS = tuple(
    SamplePair(kind, field, teacher, student)
    for kind, texts in _STUDENTS.items()
    for field, teacher, student in zip(FIELDS, _TEACHER, texts, strict=True)
)
