"""Checks a generated structure by our own rules, and reads a verifier's reply.

The rules come first: they cost nothing, and the verifier sees only what they pass.
"""

import re
import unicodedata
from dataclasses import astuple

from rlkd_plugin.gsrm import FormatError, parse_structure, render_structure
from rlkd_plugin.gsrm.prompts import example_structures
from rlkd_plugin.gsrm.texts import has_reasoning

EXAMPLES = frozenset(parse_structure(text).steps for text in example_structures())
"""The steps of the instruction's worked examples."""
MAX_SEARCHED = 20_000
"""Maximum characters of a text that are searched for odd characters in tags."""

_LIKE_A_TAG = re.compile(r"\W{0,8}\w{1,12}\W{1,3}\w{0,12}\W{0,3}\d{1,3}\W{1,3}")
_VERDICT = re.compile(r"\W*(?:verdict\W+)?(pass|fail)(?:ed|s)?\b\W*", re.IGNORECASE)
_FAIL = re.compile(r"\bFAIL\b")


def check_structure(
    text: str, problem: str, path: str, too_long: bool = False
) -> tuple[str | None, str]:
    """Return a generator's structure in the canonical form, or None and what our rules find.

    Every step has its three fields, with a word in them, numbers count up from 1, and there is a
    final answer. It is not a worked example of the instruction. It is in the script of problem and
    path, Latin or other; the verifier decides between languages of one script.

    Args:
        text: what the generator wrote.
        problem: the problem that the path solves.
        path: the path that it is the structure of.
        too_long: whether it has more tokens than its limit.
    """
    if too_long:
        return None, "It is too long. Write fewer words in each part."
    try:
        structure = parse_structure(text)
    except FormatError as error:
        return None, f"It is not in the form of the instruction: {error}{_odd_characters(text)}"
    if not structure.final_answer:
        return None, (
            f"After step {len(structure.steps)} it leaves the form: a number that skips or "
            "repeats, a part that is missing, or no final answer at the end."
        )
    if structure.steps in EXAMPLES:
        return None, "It is the structure of an example. Write that of the given reasoning path."
    for step in structure.steps:
        if not (has_reasoning(step.meta_reasoning) and has_reasoning(step.sub_problem)):
            return None, "A step's meta-reasoning or sub-problem has no word in it."
    written = _share_beyond_latin(
        "".join(field for step in structure.steps for field in astuple(step))
    )
    if all(_differ_in_script(written, _share_beyond_latin(given)) for given in (problem, path)):
        return None, "It is not in the language of the reasoning path. Write it in this language."
    return render_structure(structure), ""


def _odd_characters(text: str) -> str:
    """Return a sentence that names look-alike characters in tags, or an empty text.

    Without the names a model sees no difference, and writes the same characters again.
    """
    odd: dict[str, None] = {}
    for line in text[:MAX_SEARCHED].splitlines():
        if tag := _LIKE_A_TAG.match(line):
            odd.update(dict.fromkeys(char for char in tag[0] if not char.isascii()))
    if not odd:
        return ""
    names = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, '')}" for char in [*odd][:5])
    return f" Its tags hold other characters than those of the instruction: {names}."


def _differ_in_script(share: float, other: float) -> bool:
    """Return whether two texts differ in script; shares between the bounds come from formulas."""
    return min(share, other) < 0.1 and max(share, other) > 0.6


def _share_beyond_latin(text: str) -> float:
    """Return the share of a text's letters that are not Latin, without mathematical letters.

    A text without letters has a share of 0.
    """
    letters = [char for char in text if char.isalpha() and not "\U0001d400" <= char <= "\U0001d7ff"]
    return sum(char > "\u024f" for char in letters) / max(1, len(letters))


def read_verification(reply: str) -> tuple[bool | None, str]:
    """Read a verifier's reply: whether it says PASS, and the feedback of a FAIL.

    The first word decides; None where it is neither, or where FAIL follows a PASS.
    """
    verdict = _VERDICT.match(reply)
    if not verdict:
        return None, ""
    rest = reply[verdict.end() :].strip()
    if verdict[1].lower() == "pass":
        return (None if _FAIL.search(rest) else True), ""
    return False, rest or "It does not meet the instruction."
