"""Steps and structures (section 3.1): parsing and rendering of their text form.

Not here: where a structure comes from (`engines`), and its reward (`algorithm`).
"""

import re
from dataclasses import dataclass

from rlkd_plugin.gsrm.errors import FormatError
from rlkd_plugin.gsrm.fields import opening_tags, raw_fields, split_final
from rlkd_plugin.gsrm.layout import without_layout
from rlkd_plugin.gsrm.layout_lines import BLANK
from rlkd_plugin.gsrm.tags import (
    FIELDS,
    FINAL,
    FINAL_ANSWER,
    OTHER_FINAL,
    TAG,
    Field,
    escape_tags,
    tag,
    unread_tag,
)

_HEADINGS = re.compile(
    r"^[ \t#*_>-]{0,12}(Meta-reasoning|Meat-reasoning|sub-think) ?[0-9]{1,4}\b",
    re.IGNORECASE | re.MULTILINE,
)
_SHOWN = 400
"""Characters of a text without a step that are searched for the cause."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step (M_i, Q_i & A_i) of section 3.1.

    The fields are stored without surrounding white space and layout (`layout`), and with tags
    inside them escaped. So every step can be rendered and parsed back unchanged.

    Raises:
        FormatError: if a field is empty.
    """

    meta_reasoning: str
    sub_problem: str
    answer: str

    def __post_init__(self) -> None:
        for field in FIELDS:
            text = field_text(field, getattr(self, field))
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
        paragraph = self.final_answer.strip(BLANK).split("\n\n", 1)[0]
        object.__setattr__(self, "final_answer", field_text("answer", paragraph))
        if not self.steps:
            raise FormatError("a structure needs at least one step, this one has none")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of all steps in reading order: M_1, Q_1, A_1, M_2 ..."""
        return tuple(getattr(step, field) for step in self.steps for field in FIELDS)


def parse_structure(text: str) -> Structure:
    """Read a structure text as far as it is whole.

    Text before the first tag and after the final answer's paragraph is skipped. Reading stops at
    the first break: a number that skips or repeats, or a field that is missing, empty or out of
    order. The whole steps before the break are kept, without a final answer.
    Time is linear in the text's length.

    Args:
        text: what a GSRM wrote; `tags.TAG` says which forms of a tag are read.

    Raises:
        FormatError: if the first step is not whole.
    """
    body, final = split_final(text)
    contents, whole = raw_fields(body)
    steps: list[Step] = []
    for fields in zip(contents[0::3], contents[1::3], contents[2::3], strict=False):
        try:
            steps.append(Step(*fields))
        except FormatError:
            whole = False
            break
    if not steps:
        raise FormatError(_no_step(text))
    return Structure(tuple(steps), final if whole else "")


def render_structure(structure: Structure) -> str:
    """Return a structure in the form of Figure 2; `parse_structure` reads it back unchanged."""
    paragraphs = [
        "\n".join(f"{tag(field, number)} {getattr(step, field)}" for field in FIELDS)
        for number, step in enumerate(structure.steps, start=1)
    ]
    if structure.final_answer:
        paragraphs.append(f"{FINAL_ANSWER} {structure.final_answer}")
    return "\n\n".join(paragraphs)


def meta_reasoning_spans(text: str) -> list[tuple[int, int]]:
    """Return the character ranges of a structure text that are meta-reasoning.

    Each range goes from its tag to the tag of the next field. The rest belongs to solving:
    sub-problems and answers with their tags, and the final answer. Layout before a tag on its line
    (`- `, `### `) belongs to the tag.
    """
    opened, end = opening_tags(split_final(text)[0])
    starts = [opening.start for opening in opened] + [end]
    return list(zip(starts[0:-1:3], starts[1::3], strict=True))


def structure_regex(most_steps: int) -> str:
    """Return a regular expression for a server's constrained decoding of `render_structure`.

    An expression cannot count, so the step numbers are written out, up to `most_steps`. A field is
    one line. The syntax is plain, so that every grammar engine can read it.
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


def _no_step(text: str) -> str:
    """Return the error message for a text without a whole step."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    message = f"no whole step in {shown!r}; a structure begins with "
    message += f"{' ... '.join(tag(field, 1) for field in FIELDS)} ..."
    text = text[:_SHOWN]
    if unread := unread_tag(text):
        message += f"; {unread} is not read as a tag"
    elif not TAG.search(text) and (heading := _HEADINGS.search(text)):
        message += f"; {heading[0].strip()!r} has no brackets, so it is read as text"
    return message


def field_text(field: Field, text: str) -> str:
    """Return `text` as a step stores it, empty for layout alone; a second call changes nothing."""
    ascii_text = text.isascii()  # most texts are, and a substring test is faster than an expression
    if not ascii_text or "[" in text:
        text = escape_tags(text)
    text = text.strip(BLANK)  # before FINAL: blanks may hide the start of a line
    may_end = not ascii_text or "final" in text.lower()
    if may_end:
        text = FINAL.sub(lambda m: f"({m['phrase']}{m['colon']})", text)
    text = without_layout(text, signs=field == "answer")
    if may_end:  # not on the first line, which belongs to the field's tag
        text = OTHER_FINAL.sub(
            lambda m: f"({m['phrase']}{m['colon']})" if m.start() else m[0], text
        )
    return text
