"""The job behind `rlkd merge`: merges the results of several machines into one.

All parts must have the same command and the same maker. A line that is in two parts is written
once; a row with two different structures keeps both lines. The merged result has a record, so
`rlkd construct` and `rlkd structure` can resume with it.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data import construct, teacher_structures
from rlkd_plugin.rlkd_data.construct import pair_identity
from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_data.jobs.ownership import own_new
from rlkd_plugin.rlkd_data.jobs.record import (
    UNKNOWN,
    Maker,
    Record,
    differences,
    read_record,
    record_file,
)
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_lines import ANY, MAKER, Shape, read_lines
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.rows.source_folders import RECORD
from rlkd_plugin.rlkd_data.teacher_structures import structure_identities
from rlkd_plugin.rlkd_files import add_ending, claim, json_line, open_whole

logger = logging.getLogger(__name__)

IDENTITIES: Mapping[str, Callable[[Row], Sequence[int]] | None] = {
    "rlkd construct": lambda row: [pair_identity(row)],
    "rlkd structure": structure_identities,
    "rlkd prepare": None,  # its result keeps the duplicates of the source
}
"""The commands whose results can be merged, and the hashes that identify their rows."""
SHAPES: Mapping[str, Mapping[str, Shape]] = {
    "rlkd construct": construct.SHAPES,
    "rlkd structure": teacher_structures.SHAPES,
    "rlkd prepare": {"": ANY},
}
"""Columns of the lines of their files, by suffix."""


@dataclass
class MergeReport:
    """The outcome of the lines of all parts.

    Attributes:
        read: lines by part, all of its files together.
        written: lines by the suffix of the file.
        duplicates: lines whose row is already in an earlier line.
    """

    read: dict[Path, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def account(self) -> Account:
        """The outcome of every line that was read."""
        written = {f"written to OUT{ending}": count for ending, count in self.written.items()}
        return Account(sum(self.read.values()), {**written, "duplicates": self.duplicates})


@dataclass(frozen=True)
class _Part:
    """A file of a result with its record."""

    out: Path
    record: Record

    def rows(self, ending: str) -> Iterator[Row]:
        """Return the rows of the file with a suffix."""
        file = add_ending(self.out, ending)
        shape = SHAPES[self.record.command][ending]
        return read_lines(file, shape) if file.exists() else iter(())


def merge_results(
    parts: Sequence[Path], out: Path, report: MergeReport, *, mix: bool = False
) -> None:
    """Write the lines of several results to a new one, in the order of the parts.

    Args:
        parts: results of one command, OUT of each; their second files are merged too.
        out: the new result.
        report: filled while the parts are read.
        mix: whether to merge parts of several makers; then each line names its maker.

    Raises:
        RlkdError: if a part has no record, is of another command or maker, is being written, or
            has a broken line; or if the result exists already.
    """
    found = [_read_part(part) for part in parts]
    _check_different(parts)
    record = _merge_records(found, mix)
    for remark in _incomplete(found):
        logger.warning("%s", remark)
    shapes = SHAPES[record.command]
    result = Result(record.command, out, Maker("", record.last()), shapes)
    with ExitStack() as stack:
        for part in found:
            stack.enter_context(claim(record_file(part.out), part.out))
        stack.enter_context(own_new(result, record))
        endings = sorted(shapes, key=len)
        files = [stack.enter_context(open_whole(result.file(ending))) for ending in endings]
        seen: set[int] = set()
        for ending, file in zip(endings, files, strict=True):
            for row in _distinct_rows(found, ending, record, seen, report):
                file.write(json_line(row, escape=True))
                report.written[ending] = report.written.get(ending, 0) + 1
        report.account.check()
        if not report.written.get(""):
            raise RlkdError(f"the parts have no row; {out} was not written")


def _read_part(out: Path) -> _Part:
    record = read_record(record_file(out))
    if record is None:
        missing = record_file(out) if out.exists() else out
        raise RlkdError(
            f"there is no {missing}: name the OUT of each job, with its {RECORD} file next to it"
        )
    if record.command not in IDENTITIES:
        known = ", ".join(f"`{command}`" for command in IDENTITIES)
        raise RlkdError(
            f"{out} was made by `{record.command}`; only results of {known} can be merged"
        )
    return _Part(out, record)


def _check_different(parts: Sequence[Path]) -> None:
    places: dict[Path, Path] = {}
    for part in parts:
        if (real := part.resolve()) in places:
            raise RlkdError(f"{part} and {places[real]} are the same file; name each part once")
        places[real] = part


def _merge_records(parts: Sequence[_Part], mix: bool) -> Record:
    """Return the record of the result.

    Raises:
        RlkdError: if the parts cannot be merged.
    """
    first, *others = parts
    merged = first.record
    for part in others:
        if part.record.command != first.record.command:
            fault = f"by `{part.record.command}`, {first.out} by `{first.record.command}`"
            raise RlkdError(f"{part.out} was made {fault}; merge results of one command")
        if part.record.columns != first.record.columns:
            raise RlkdError(
                f"{part.out} has the columns of version {part.record.version} of the plugin, "
                f"{first.out} those of {first.record.version}; merge results of one version"
            )
        for label, facts in part.record.makers.items():
            if label == UNKNOWN or merged.label_of(facts) is None:
                if label not in merged.makers and not mix:
                    differs = "; ".join(differences(facts, merged.last()))
                    raise RlkdError(
                        f"{part.out} (there) and {first.out} (now) were made with other settings "
                        f"({differs or label}); give --mix to merge them, each line then names its "
                        "maker"
                    )
                merged = replace(merged, makers={**merged.makers, label: facts})
            else:
                merged = merged.learn(facts)
    is_mixed = len(merged.makers) > 1 or any(part.record.is_mixed for part in parts)
    is_done = all(part.record.is_done for part in parts)
    return replace(merged, is_mixed=is_mixed, is_done=is_done, source="", shard="")


def _distinct_rows(
    parts: Sequence[_Part], ending: str, record: Record, seen: set[int], report: MergeReport
) -> Iterator[Row]:
    """Yield the rows of one file of each part without duplicates, and count all."""
    identities = IDENTITIES[record.command]
    for part in parts:
        labels = {
            label: record.label_of(facts) or label for label, facts in part.record.makers.items()
        }
        first = next(iter(labels))
        for row in part.rows(ending):
            report.read[part.out] = report.read.get(part.out, 0) + 1
            keys = identities(row) if identities else []
            if keys and keys[0] in seen:
                report.duplicates += 1
                continue
            seen.update(keys)
            if record.is_mixed:
                label = row.get(MAKER, first)
                row = {**row, MAKER: labels.get(label, label)}
            yield row


def _incomplete(parts: Sequence[_Part]) -> Iterator[str]:
    """Yield a warning for each shard or row that the parts lack."""
    shards = [re.fullmatch(r"(\d+)/(\d+)", part.record.shard) for part in parts]
    numbers = [(int(shard[1]), int(shard[2])) for shard in shards if shard]
    for total in {total for _, total in numbers}:
        there = {number for number, of in numbers if of == total}
        if missing := [f"{n}/{total}" for n in range(1, total + 1) if n not in there]:
            yield f"not among the parts: shard {', '.join(missing)}"
    for part in parts:
        if not part.record.is_done:
            yield f"{part.out}: its job is not finished; the rows that it has are merged"
