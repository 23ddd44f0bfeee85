"""Reads the completions that ms-swift logs (`log_completions`), `completions.jsonl`.

A line is the table of a step: columns of equal length, one entry a completion. With
`logging_steps` above 1 it holds those of the last step alone. The texts of completions are skipped.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_eval.reward_shares import Group
from rlkd_plugin.rlkd_eval.run_log import MOST_DIGITS, number_of
from rlkd_plugin.rlkd_files import json_lines

COMPLETIONS = "completions.jsonl"


@dataclass(frozen=True)
class CompletionTable:
    """The completions of a step, group by group.

    Attributes:
        step: for which they were drawn.
        prompts: of each completion.
        rewards: by name, in ms-swift's order; None where the reward gave none.
        advantages: as ms-swift computed them.
    """

    step: int
    prompts: Sequence[str]
    rewards: Mapping[str, Sequence[float | None]]
    advantages: Sequence[float]


def completion_tables(
    file: Path, names: Collection[str], steps: Collection[int]
) -> Iterator[CompletionTable | FormatError]:
    """Yield the table of each training step, or the error in its line.

    Of a step that was run twice (in a resumed run) the last table counts. ms-swift writes
    further tables of a step at an evaluation and at the end; they are skipped, and so are those of
    the same completions that are used in several steps.

    Args:
        file: to read, one line in memory.
        names: of the rewards, as the log has them.
        steps: in the log; a table of another step is of an evaluation.
    """
    last_step, last_row = None, {}
    for number, row in json_lines(file):
        try:
            if isinstance(row, FormatError):
                raise row
            step = _step(row.pop("step", None))
            is_new = step in steps and step != last_step and row != last_row
            last_step, last_row = step, row
            if is_new and step is not None:
                yield _table(step, row, names)
        except FormatError as error:
            yield FormatError(f"line {number}: {error}")


def groups_of(table: CompletionTable, size: int) -> list[Group]:
    """Return the groups of a table; ms-swift writes them one after the other.

    Raises:
        FormatError: if its completions do not form groups of this size.
    """
    count = len(table.prompts)
    starts = range(0, count, size)
    if count % size or any(len(set(table.prompts[i : i + size])) > 1 for i in starts):
        raise FormatError(f"its {count} completions do not form groups of {size}")
    return [
        Group(
            {name: rewards[i : i + size] for name, rewards in table.rewards.items()},
            table.advantages[i : i + size],
        )
        for i in starts
    ]


def _step(column: object) -> int | None:
    """Return the step of a table, or None where it has no row.

    Raises:
        FormatError: if it names no step.
    """
    match column:
        case []:
            return None
        case [str(step), *_] if step.isdecimal() and len(step) <= MOST_DIGITS:
            return int(step)
        case _:
            raise FormatError(f"no table of a step: its column step is {column!r:.80}")


def _table(step: int, row: Mapping[str, Any], names: Collection[str]) -> CompletionTable:
    rewards = {name: _column(row, name) for name in row if name in names}
    if missing := sorted(set(names) - rewards.keys()):
        raise FormatError(f"there is no column {missing[0]}")
    prompts, advantages = _column(row, "prompt"), _column(row, "advantages")
    if len({len(column) for column in (prompts, advantages, *rewards.values())}) > 1:
        raise FormatError("its columns differ in length")
    numbers = [number_of(advantage) for advantage in advantages]
    if any(number is None for number in numbers):
        raise FormatError("an advantage is not a finite number")
    return CompletionTable(
        step,
        [str(prompt) for prompt in prompts],
        {name: [number_of(reward) for reward in column] for name, column in rewards.items()},
        [number for number in numbers if number is not None],
    )


def _column(row: Mapping[str, Any], name: str) -> list[Any]:
    column = row.get(name)
    if not isinstance(column, list):
        raise FormatError(f"there is no column {name}")
    return column
