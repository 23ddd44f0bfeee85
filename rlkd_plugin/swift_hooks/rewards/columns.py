"""Reads and checks the columns of a batch, which ms-swift hands to the reward."""

from collections.abc import Sequence
from typing import Any

from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.prompts import DOMAINS


def read_samples(
    completions: Sequence[str],
    problem: Sequence[str] | None,
    domain: Sequence[str] | None,
    teacher_reasoning: Sequence[str | None] | None,
    teacher_structure: Sequence[str | None] | None,
) -> list[Sample]:
    """Return a sample for each completion.

    Raises:
        RlkdError: if a column is missing or of another length, or a value is not allowed.
    """
    if teacher_reasoning is None and teacher_structure is None:
        raise RlkdError(
            "the reward rlkd_gsrm needs the column teacher_reasoning (or teacher_structure); the "
            "rows of `rlkd prepare` have it"
        )
    problems = check_column("problem", problem, completions)
    domains = check_column("domain", domain, completions)
    paths = check_column("teacher_reasoning", teacher_reasoning, completions, optional=True)
    structures = check_column("teacher_structure", teacher_structure, completions, optional=True)
    for row, name in enumerate(domains):
        if name not in DOMAINS:
            raise RlkdError(
                f"the domain of row {row} of the batch is {name!r}; it must be one of "
                f"{', '.join(DOMAINS)}"
            )
    return [
        Sample(completion, problem, domain, path or "", structure)
        for completion, problem, domain, path, structure in zip(
            completions, problems, domains, paths, structures, strict=True
        )
    ]


def check_column(
    name: str,
    values: Sequence[Any] | None,
    completions: Sequence[str],
    optional: bool = False,
    of: type = str,
) -> Sequence[Any]:
    """Return a column; a list of None for an optional one that is missing.

    Raises:
        RlkdError: if it is missing, not as long as the batch, or has a value of another type.
    """
    if values is None:
        if not optional:
            raise RlkdError(
                f"the reward rlkd_gsrm needs the column {name}; the rows of `rlkd prepare` have it"
            )
        return [None] * len(completions)
    if len(values) != len(completions):
        raise RlkdError(
            f"the column {name} has {len(values)} values for {len(completions)} completions"
        )
    for row, value in enumerate(values):
        if not (isinstance(value, of) or (optional and value is None)):
            raise RlkdError(
                f"the column {name} has no text but {repr(value)[:200]} in row {row} of a batch"
            )
    return values
