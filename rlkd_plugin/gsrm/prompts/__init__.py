"""The prompts: two to decompose a path, three to match two texts.

The texts stand beside this file. Each prompt is one user message. What many requests have in
common comes first (instruction, then examples, then the problem or the teacher's text), so that
a server's prefix cache serves a whole group. Callers neutralise what they fill in.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Literal

from rlkd_plugin.gsrm.tags import FINAL_ANSWER, NAMES, Field

END = "[End]"
"""Ends each worked example, so that a model that copies their form stops after its last line."""

DOMAINS = ("math", "science", "code", "puzzle")
"""The four reasoning tasks of section 3.1."""

Kind = Literal["gsrm", "construct"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def decompose_prompt(kind: Kind, domain: str, problem: str, path: str) -> str:
    """Return the prompt that asks for the structure of a path.

    Args:
        kind: "gsrm", the instruction alone, for the trained GSRM: the same bytes in its training
            and in its service; "construct" with worked examples, for any other model.
        domain: chooses the examples; mathematics where the domain has none.
        problem: neutralised (`texts.neutralise`).
        path: neutralised.
    """
    return f"{_head(kind, domain)}\n{_fill(_text('content'), problem=problem, path=path)}"


def judge_prompt(field: Field, teacher: str, student: str) -> str:
    """Return the prompt that asks whether two neutralised texts of a field match."""
    return _fill(_text(f"judge_{field}"), teacher=teacher, student=student)


def prompt_identity(kind: Kind) -> str:
    """Return all of a decompose prompt's own text: a cache depends on it."""
    return "\n".join([*(_head(kind, domain) for domain in DOMAINS), _text("content")])


@cache
def _head(kind: Kind, domain: str) -> str:
    head = _fill(_text("decompose"), final_answer=FINAL_ANSWER, **NAMES)
    return f"{head}\n{_examples(domain)}" if kind == "construct" else head


def _examples(domain: str) -> str:
    name = f"examples_{domain}"
    return _text(name if (files(__name__) / f"{name}.txt").is_file() else "examples_math")


@cache
def _text(name: str) -> str:
    return (files(__name__) / f"{name}.txt").read_text("utf-8")


def _fill(template: str, **values: str) -> str:
    """Fill the places of a template in one pass: what is filled in is not looked at again."""
    return _PLACE.sub(lambda place: values[place[1]], template)
