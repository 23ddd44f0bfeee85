"""The tags of a structure text: the one source for renderer, parser, prompts and escaping.

The canonical form is that of Figure 2 of the paper:

    [Meta-reasoning 1]: ...
    [Sub-problem 1]: ...
    [Answer 1]: ...
    So the final answer is: ...
"""

import re
from typing import Literal, get_args

Field = Literal["meta_reasoning", "sub_problem", "answer"]

FIELDS: tuple[Field, ...] = get_args(Field)
"""The fields of a step in the order in which they are written and compared."""

NAMES: dict[Field, str] = {
    "meta_reasoning": "Meta-reasoning",
    "sub_problem": "Sub-problem",
    "answer": "Answer",
}

ALIASES: dict[str, Field] = {
    # Written by published GSRMs: the reference prompts misspell the first and train the others.
    "meat-reasoning": "meta_reasoning",
    "sub-think": "meta_reasoning",
    "query": "sub_problem",
}
ALIASES |= {name.lower(): field for field, name in NAMES.items()}

FINAL_ANSWER = "So the final answer is:"

# Every quantifier is bounded, so that a scan costs a constant at each character of hostile text.
TAG = re.compile(
    r"\*{0,3}\[ {0,3}(?P<name>" + "|".join(map(re.escape, ALIASES)) + r") {0,3}"
    r"(?P<number>[0-9]{1,4}) {0,3}\](?:\*{0,3} {0,3}(?P<colon>[:\uff1a])\*{0,3}|\*{0,3})",
    re.IGNORECASE | re.ASCII,  # ASCII: else a long s matches s, and no alias has one
)
FINAL = re.compile(
    r"^[ \t*#>-]{0,8}so,? {1,3}the {1,3}final {1,3}answer {1,3}is\*{0,3} {0,3}[:\uff1a]?\*{0,3}",
    re.IGNORECASE | re.MULTILINE,
)

# What no parser of ours reads as a tag, but a model may: [Answer 1e5], 【Answer **1**】, [End]
_LOOK_ALIKE = re.compile(
    r"[\[\u3010\uff3b](?=[\W_]{0,4}(?:(?:"
    + "|".join(name.replace("-", r"[\W_]{0,3}") for name in ALIASES)
    + r")[\W_]{0,8}[^\W_A-Za-z]|End[\W_]{0,4}[\]\u3011\uff3d]))",
    re.IGNORECASE,
)


def tag(field: Field, number: int) -> str:
    """Return the canonical tag of a field, `[Sub-problem 2]:`."""
    return f"[{NAMES[field]} {number}]:"


def escape_tags(text: str) -> str:
    """Return `text` with every tag's brackets made round, so that no parser reads a step there."""
    return TAG.sub(lambda m: f"({m['name']} {m['number']}){m['colon'] or ''}", text)


def escape_look_alikes(text: str) -> str:
    """Return `text` with the opening bracket made round of all that looks like a tag to a model."""
    return _LOOK_ALIKE.sub("(", text)
