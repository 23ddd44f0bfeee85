"""The prompts: two to decompose a path, three to match two texts, two to verify a structure.

The texts are files in this folder. Each prompt is one user message. The parts that many requests
share come first (instruction, examples, problem or teacher's text), so that a server's prefix
cache serves a whole group. Values are neutralised before they are filled in (`texts.neutralise`).
"""

import re
from functools import cache
from importlib.resources import files
from typing import Literal

from rlkd_plugin.gsrm.tags import FINAL_ANSWER, NAMES, Field
from rlkd_plugin.gsrm.texts import FENCES, break_control, neutralise

END = "[End]"
"""Ends each worked example, so that a model that copies the examples stops there."""

DOMAINS = ("math", "science", "code", "puzzle")
"""The four reasoning tasks of section 3.1."""

Kind = Literal["gsrm", "construct"]

_FENCES_TO_ASCII = str.maketrans(dict(zip(FENCES, "[]", strict=True)))
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def decompose_prompt(kind: Kind, domain: str, problem: str, path: str) -> str:
    """Return the prompt that asks for the structure of a path.

    Args:
        kind: "gsrm", the instruction alone, for the trained GSRM: the same bytes in training and
            serving; "construct", with worked examples, for any other model.
        domain: one of `DOMAINS`; it selects rules and examples.
        problem: the problem that the path solves.
        path: a reasoning path.
    """
    content = _fill(_text("content"), problem=neutralise(problem), path=neutralise(path))
    return f"{_head(kind, domain)}\n{content}"


def judge_prompt(field: Field, teacher: str, student: str) -> str:
    """Return the prompt that asks whether two texts of a field match."""
    texts = {"teacher": neutralise(teacher), "student": neutralise(student)}
    return _fill(_text(f"judge_{field}"), **texts)


def verify_prompt(domain: str, problem: str, path: str, structure: str) -> str:
    """Return the prompt that asks whether a structure meets the instruction (section 3.1).

    The structure keeps its tags, as the verifier must see them.
    """
    return _fill(
        _text("verify"),
        instruction=_head("gsrm", domain).rstrip().translate(_FENCES_TO_ASCII),
        problem=neutralise(problem),
        path=neutralise(path),
        structure=break_control(structure.translate(_FENCES_TO_ASCII)),
    )


def feedback_prompt(feedback: str) -> str:
    """Return the message that asks a generator to correct its structure."""
    fault = break_control(feedback.translate(_FENCES_TO_ASCII))
    return _fill(_text("feedback"), feedback=fault)


def example_structures() -> list[str]:
    """Return the structures of the worked examples, of all domains."""
    texts = (_text(f"examples_{domain}") for domain in DOMAINS)
    return [
        example.rpartition("Structure:")[2].strip()
        for text in texts
        for example in text.split(END)[:-1]
    ]


def prompt_identity(kind: Kind) -> str:
    """Return the fixed text of a decompose prompt, for cache keys."""
    heads = [_head(kind, domain) for domain in DOMAINS]
    return "\n".join([*heads, _text("content")])


def pair_prompts() -> str:
    """Return the fixed text of the prompts that construct R-S pairs."""
    return "\n".join([prompt_identity("construct"), _text("feedback"), _text("verify")])


@cache
def _head(kind: Kind, domain: str) -> str:
    rules = _text(f"instruction_{domain}").rstrip()
    head = _fill(_text("decompose"), final_answer=FINAL_ANSWER, domain_rules=rules, **NAMES)
    return f"{head}\n{_text(f'examples_{domain}')}" if kind == "construct" else head


@cache
def _text(name: str) -> str:
    return (files(__name__) / f"{name}.txt").read_text("utf-8")


def _fill(template: str, **values: str) -> str:
    """Fill the places of a template in one pass, so that values are never scanned."""
    return _PLACE.sub(lambda place: values[place[1]], template)


R1_SYSTEM = _text("r1_system").rstrip("\n")
"""The think/answer system prompt of the template `rlkd_r1`, which the recipes train with."""
