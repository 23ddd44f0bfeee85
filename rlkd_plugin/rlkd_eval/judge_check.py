"""Measures how often a judge is right about labelled pairs of texts, for `rlkd judge-check`.

The pairs that come with the plugin are written by hand, in four domains. Matching pairs say the
same plan, question or answer in other words. The others share most words but differ in what counts,
or say nothing. As in training, the text rules decide some pairs without the judge.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from rlkd_plugin.engines.base import Engine, Usage, Verdict
from rlkd_plugin.gsrm import FIELDS, Field, FormatError, RlkdError
from rlkd_plugin.gsrm.texts import obvious_verdict
from rlkd_plugin.rlkd_files import json_lines

PAIRS = Path(str(files("rlkd_plugin.rlkd_data"))) / "samples" / "judge_pairs.jsonl"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts of a field, and whether they match."""

    domain: str
    field: Field
    first: str
    second: str
    match: bool


@dataclass(frozen=True, slots=True)
class JudgeRun:
    """A judge's verdicts on the pairs, in their order, its usage, and the seconds it took.

    `swapped` holds the verdicts with first and second text swapped, where they were requested.
    """

    pairs: Sequence[Pair]
    verdicts: Sequence[Verdict]
    usage: Usage
    seconds: float
    swapped: Sequence[Verdict] | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """A judge's rates on some pairs; a rate over no pair is None.

    Attributes:
        pairs: how many.
        accuracy: the share of right verdicts.
        false_positive: the share of unmatched pairs that the judge calls a match.
        false_negative: the share of matched pairs that the judge calls no match.
        unreadable: the share without a verdict, which counts as no match.
        auc: the probability that a matched pair gets a higher probability of yes than an unmatched
            one, over the pairs with a probability.
    """

    pairs: int
    accuracy: float | None
    false_positive: float | None
    false_negative: float | None
    unreadable: float | None
    auc: float | None


def read_pairs(file: Path) -> list[Pair]:
    """Read labelled pairs, JSON lines with `field`, `first`, `second`, `match`, maybe `domain`.

    Raises:
        RlkdError: if there is no such file, it is empty, or a line is not a pair; the message names
            the line.
    """
    if not file.is_file():
        raise RlkdError(f"there is no file {file}")
    pairs = []
    for number, row in json_lines(file):
        try:
            if isinstance(row, FormatError):
                raise row
            pairs.append(msgspec.convert({**row, "domain": row.get("domain") or ""}, Pair))
        except (FormatError, msgspec.ValidationError) as error:
            raise RlkdError(
                f'{file}:{number} is not a pair: {error}; a pair looks like {{"field": "answer", '
                f'"first": "1/2", "second": "0.5", "match": true}}; fields: {", ".join(FIELDS)}'
            ) from None
    if not pairs:
        raise RlkdError(f"{file} has no pairs: it is empty")
    return pairs


async def judge_pairs(pairs: Sequence[Pair], engine: Engine, *, swap: bool = False) -> JudgeRun:
    """Ask for a verdict on each pair, the first text as the teacher's.

    Args:
        pairs: what to ask about.
        engine: asks one way; with `RLKD_JUDGE_SWAP` it would ask both ways itself.
        swap: whether to ask the other way too, with twice the requests.

    Raises:
        EndpointError: if the judge cannot be used, or fails past the retry deadline.
    """

    async def verdict(pair: Pair, teacher: str, student: str) -> Verdict:
        obvious = obvious_verdict(pair.field, teacher, student)
        if obvious is not None:
            return Verdict(obvious, "rule")
        return await engine.match(pair.field, teacher, student)

    questions = [(pair, pair.first, pair.second) for pair in pairs]
    if swap:
        questions += [(pair, pair.second, pair.first) for pair in pairs]
    async with engine:
        await engine.probe()
        begin = time.monotonic()
        verdicts = await asyncio.gather(*(verdict(*one) for one in questions))
        seconds = time.monotonic() - begin
    swapped = verdicts[len(pairs) :] if swap else None
    return JudgeRun(pairs, verdicts[: len(pairs)], engine.usage, seconds, swapped)


def rates(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> Rates:
    """Return the rates of a judge's verdicts on pairs."""
    both = list(zip(pairs, verdicts, strict=True))
    matched = [verdict for pair, verdict in both if pair.match]
    unmatched = [verdict for pair, verdict in both if not pair.match]
    false_positive = _share([verdict.matched for verdict in unmatched])
    false_negative = _share([not verdict.matched for verdict in matched])
    return Rates(
        len(both),
        _share([pair.match == verdict.matched for pair, verdict in both]),
        false_positive,
        false_negative,
        _share([verdict.source == "refused" for verdict in verdicts]),
        _auc(
            [v.probability for v in matched if v.probability is not None],
            [v.probability for v in unmatched if v.probability is not None],
        ),
    )


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _auc(matched: Sequence[float], unmatched: Sequence[float]) -> float | None:
    """Return P(matched > unmatched) + P(equal) / 2, by ranks."""
    if not matched or not unmatched:
        return None
    higher = sum((one > other) + 0.5 * (one == other) for one in matched for other in unmatched)
    return higher / (len(matched) * len(unmatched))
