"""Steps and structures (section 3.1), and their text form, read and written.

Not here: where a structure comes from (`engines`), and what it is worth (`algorithm`).
"""

import re
from dataclasses import dataclass

from rlkd_plugin.gsrm.errors import FormatError
from rlkd_plugin.gsrm.tags import ALIASES, FIELDS, FINAL, FINAL_ANSWER, TAG, Field, escape_tags, tag

_SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_CHARGED = re.compile(r"(?:\^|\b(?:[A-Z][a-z]?[0-9]?){1,4})$")
"""An answer that ends so keeps its dash, the sign of an exponent or an ion: e^-, NO3-."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step (M_i, Q_i & A_i) of section 3.1.

    The fields are kept in the form in which a structure text can hold them: without surrounding
    white space or a trailing dash, tags inside them escaped. So every step that exists can be
    rendered and read back unchanged.

    Raises:
        FormatError: if a field is empty.
    """

    meta_reasoning: str
    sub_problem: str
    answer: str

    def __post_init__(self) -> None:
        for field in FIELDS:
            text = _field_text(field, getattr(self, field))
            if not text:
                raise FormatError(f"a step's {field} is empty; a step needs {', '.join(FIELDS)}")
            object.__setattr__(self, field, text)


@dataclass(frozen=True, slots=True)
class Structure:
    """The sequence S = [(M_1, Q_1 & A_1), ..., (M_n, Q_n & A_n)] of section 3.1.

    `final_answer` is one paragraph, empty where the text had none: the reward does not read it.

    Raises:
        FormatError: if there is no step.
    """

    steps: tuple[Step, ...]
    final_answer: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        paragraph = self.final_answer.strip(_SPACES).split("\n\n", 1)[0]
        object.__setattr__(self, "final_answer", _field_text("answer", paragraph))
        if not self.steps:
            raise FormatError("a structure needs at least one step, this one has none")


def parse_structure(text: str) -> Structure:
    """Read a structure text as far as it is whole.

    Text before the first tag is skipped, and so is what follows the final answer's paragraph.
    Reading stops at the first break: a number that skips or repeats, a field that is missing,
    empty or out of order. The whole steps before the break are kept, without a final answer.
    Time is linear in the text's length.

    Args:
        text: what a GSRM wrote; `tags.TAG` says which forms of a tag are read.

    Raises:
        FormatError: if not even the first step is whole.
    """
    first = TAG.search(text)
    final = FINAL.search(text, first.end()) if first else None
    contents, whole = _contents(text[: final.start()] if final else text)
    steps: list[Step] = []
    for fields in zip(contents[0::3], contents[1::3], contents[2::3], strict=False):
        try:
            steps.append(Step(*fields))
        except FormatError:
            whole = False
            break
    if not steps:
        shown = text if len(text) <= 200 else text[:200] + "..."
        raise FormatError(
            f"no whole step in {shown!r}; a structure begins with "
            f"{' ... '.join(tag(field, 1) for field in FIELDS)} ..."
        )
    rest = text[final.end() :] if final and whole else ""
    again = TAG.search(rest)
    return Structure(tuple(steps), rest[: again.start()] if again else rest)


def render_structure(structure: Structure) -> str:
    """Write a structure in the form of Figure 2; `parse_structure` reads it back unchanged."""
    paragraphs = [
        "\n".join(f"{tag(field, number)} {getattr(step, field)}" for field in FIELDS)
        for number, step in enumerate(structure.steps, start=1)
    ]
    if structure.final_answer:
        paragraphs.append(f"{FINAL_ANSWER} {structure.final_answer}")
    return "\n\n".join(paragraphs)


def meta_reasoning_spans(text: str) -> list[tuple[int, int]]:
    """Return the character ranges of a structure text that are meta-reasoning.

    Each reaches from its tag to the tag that opens the next field; all else of the text belongs
    to solving: sub-problems and answers with their tags, and the final answer.
    """
    first = TAG.search(text)
    final = FINAL.search(text, first.end()) if first else None
    tags, end = _tags(text[: final.start()] if final else text)
    starts = [match.start() for match in tags] + [end]
    return list(zip(starts[0:-1:3], starts[1::3], strict=True))


def structure_regex(most_steps: int) -> str:
    """Return a regular expression for a server's constrained decoding of `render_structure`.

    Numbers that count up have to be written out, so it allows at most `most_steps` steps. One
    line a field; plain syntax that every grammar engine reads.
    """
    line = r" [^\n]+"
    rest = ""
    for number in range(most_steps, 0, -1):
        tags = (
            tag(field, number).translate({ord("["): r"\[", ord("]"): r"\]"}) for field in FIELDS
        )
        step = r"\n".join(opening + line for opening in tags) + r"\n\n"
        rest = f"{step}({rest})?" if rest else step
    return rest + FINAL_ANSWER + line


def _contents(body: str) -> tuple[list[str], bool]:
    """Return the fields' raw texts in reading order, and whether the body has no break."""
    tags, end = _tags(body)
    starts = [match.start() for match in tags[1:]] + [end]
    contents = [body[match.end() : start] for match, start in zip(tags, starts, strict=bool(tags))]
    return contents, end == len(body) and len(tags) % 3 == 0


def _tags(body: str) -> tuple[list[re.Match[str]], int]:
    """Return the tags that open a field, and where the reading ends: at the first break."""
    tags: list[re.Match[str]] = []
    for match in TAG.finditer(body):
        found = (ALIASES[match["name"].lower()], int(match["number"]))
        if found == (FIELDS[len(tags) % 3], len(tags) // 3 + 1):
            tags.append(match)
        elif not _is_mention(body, match):
            return tags, match.start()
    return tags, len(body)


def _is_mention(body: str, match: re.Match[str]) -> bool:
    """Say whether a tag that is out of order is only spoken of: "by [Answer 1] we know"."""
    line_so_far = body[max(0, match.start() - 8) : match.start()].rpartition("\n")[2]
    return not match["colon"] and bool(line_so_far.strip(" \t*#>-"))


def _field_text(field: Field, text: str) -> str:
    """Return `text` as a structure text can hold it; doing so twice changes nothing more."""
    text = escape_tags(text).strip(_SPACES)  # before FINAL: what is stripped may hide a line start
    text = FINAL.sub(lambda m: f"({m.group().strip(_SPACES + '*#>-')})", text)
    bare = text.rstrip("-" + _SPACES)
    dash_follows = text[len(bare) :].startswith("-")
    if field == "answer" and dash_follows and _CHARGED.search(bare, max(0, len(bare) - 12)):
        return bare + "-"
    return bare
