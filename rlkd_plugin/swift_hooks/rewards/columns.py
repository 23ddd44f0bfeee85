"""Reads and checks the columns of a batch, which ms-swift hands to the reward."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.prompts import DOMAINS
from rlkd_plugin.swift_hooks.rewards.branch_columns import MISSING, branches_of

MESSAGES = "a list of chat messages; give the text alone"


def read_samples(
    completions: Sequence[str],
    problem: Sequence[str] | None,
    domain: Sequence[str] | None,
    teacher_reasoning: Sequence[str | None] | None,
    teacher_structure: Sequence[str | None] | None,
    teacher_branches: Sequence[Sequence[str] | None] | None = None,
    teacher_structures: Sequence[Sequence[str | None] | None] | None = None,
    branches: int = 1,
) -> list[Sample]:
    """Return a sample for each completion, with at most `branches` paths of its teacher.

    Raises:
        RlkdError: if a column is missing or of another length, or a value is not allowed.
    """
    texts = _texts("completions", completions, None)
    if teacher_reasoning is None and teacher_structure is None:
        raise RlkdError(
            "the reward rlkd_gsrm needs the column teacher_reasoning (or teacher_structure); the "
            "rows of `rlkd prepare` have it"
        )
    problems = _texts("problem", problem, texts)
    domains = [read_domain(name, row) for row, name in enumerate(_texts("domain", domain, texts))]
    paths = _texts("teacher_reasoning", teacher_reasoning, texts, optional=True)
    structures = _texts("teacher_structure", teacher_structure, texts, optional=True)
    samples = [
        Sample(completion, problem, domain, path or "", structure)
        for completion, problem, domain, path, structure in zip(
            texts, problems, domains, paths, structures, strict=True
        )
    ]
    if branches == 1:
        return samples
    if teacher_branches is None:
        raise RlkdError(MISSING.format(count=branches))
    others = _values("teacher_branches", teacher_branches, texts)
    known = _values("teacher_structures", teacher_structures, texts, optional=True)
    return [
        _with_branches(row, sample, other, structure, branches)
        for row, (sample, other, structure) in enumerate(zip(samples, others, known, strict=True))
    ]


def _with_branches(row: int, sample: Sample, paths: Any, structures: Any, count: int) -> Sample:
    (only,) = sample.branches
    first, *others = branches_of(row, only, paths, structures, count)
    return replace(
        sample,
        teacher_reasoning=first.reasoning,
        teacher_structure=first.structure,
        more_branches=tuple(others),
    )


def read_domain(name: str, row: int) -> str:
    """Return a domain's name; letter case and white space around it do not matter.

    Raises:
        RlkdError: if there is no such domain.
    """
    plain = name.strip().lower()
    if plain not in DOMAINS:
        raise RlkdError(
            f"the domain of row {row} of the batch is {name!r}; it must be one of "
            f"{', '.join(DOMAINS)}"
        )
    return plain


def read_flags(
    name: str, values: Sequence[bool | None] | None, completions: Sequence[str]
) -> list[bool]:
    """Return a column of flags; None is False.

    Raises:
        RlkdError: if it is not as long as the batch, or has a value that is not a flag.
    """
    flags = []
    for row, value in enumerate(_values(name, values, completions, optional=True)):
        if value is not None and (isinstance(value, str) or value not in (True, False)):
            raise _value_error(name, row, value, "true, false or null")
        flags.append(bool(value))
    return flags


def read_ids(
    name: str, values: Sequence[Any] | None, completions: Sequence[str]
) -> list[str | int | None]:
    """Return a column of ids, for the trace; any other value becomes a text.

    Raises:
        RlkdError: if it is not as long as the batch.
    """
    ids = _values(name, values, completions, optional=True)
    return [value if value is None or type(value) in (str, int) else str(value) for value in ids]


def check_text(name: str, row: int, value: Any) -> str:
    """Return a value of a column, which has to be a text.

    Raises:
        RlkdError: if it is not one.
    """
    if not isinstance(value, str):
        raise _value_error(name, row, value, "a text")
    return value


def _texts(
    name: str, values: Any, completions: Sequence[str] | None, optional: bool = False
) -> Sequence[Any]:
    """Return a column of texts, and of None where it is optional."""
    found = _values(name, values, completions, optional)
    for row, value in enumerate(found):
        if not (optional and value is None):
            check_text(name, row, value)
    return found


def _values(
    name: str, values: Any, completions: Sequence[str] | None, optional: bool = False
) -> Sequence[Any]:
    """Return a column; a list of None for an optional one that is missing."""
    if values is None and optional and completions is not None:
        return [None] * len(completions)
    if values is None:
        raise RlkdError(
            f"the reward rlkd_gsrm needs the column {name}; the rows of `rlkd prepare` have it"
            if completions is not None
            else "the reward rlkd_gsrm needs completions, a list of texts, and got None"
        )
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__len__"):
        raise RlkdError(
            f"the column {name} needs a list with a value for each completion; it has type "
            f"{type(values).__name__}: {repr(values)[:200]}"
        )
    if completions is not None and len(values) != len(completions):
        raise RlkdError(
            f"the column {name} has {len(values)} values for {len(completions)} completions"
        )
    return list(values)


def _value_error(name: str, row: int, value: Any, wanted: str) -> RlkdError:
    kind = type(value).__name__
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        kind = MESSAGES
    return RlkdError(
        f"the column {name} needs {wanted} in each row; row {row} of a batch has "
        f"{repr(value)[:200]} (type: {kind})"
    )
