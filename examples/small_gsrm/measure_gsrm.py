"""Prints how near engines' structures come to the true ones, which the paths were made with.

    python -m examples.small_gsrm.measure_gsrm OUT/unseen_by_rules.jsonl ...
        [--embedder MINILM --choose OUT/judge_choose.jsonl]

Reads the files of `decompose_paths.py`, and measures the paths that all files have. `parse`: some
whole step; `whole`: no break, down to the final answer. `error`: of the number of steps; a path
without a structure has none. Plans, sub-problems and answers are compared at their place, without
Algorithm 1's early exit; the shares are of the true steps. `in order` is the longest common
sequence of answers, as a share of the longer structure: an extra step costs one, not all that
follow. Plans and sub-problems are matched as the small engine does, by words, and, in brackets, by
MiniLM; answers by their numbers. The true plans are in the small GSRM's own wording.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Column, Table

from examples.small_gsrm.measure_judges import cosines, thresholds
from examples.small_gsrm.paths import VARIANTS
from examples.small_gsrm.problems import numbers
from rlkd_plugin.engines.word_matcher import match_by_words
from rlkd_plugin.gsrm import Field, Structure, parse_structure
from rlkd_plugin.gsrm.texts import obvious_verdict
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
from rlkd_plugin.rlkd_eval.judge_check import Pair, read_pairs

Matcher = Callable[[Sequence[Pair]], Awaitable[list[bool]]]


@dataclass(frozen=True, slots=True)
class PathStructures:
    """One path: its variant, the true structure and the one that an engine gave it."""

    variant: str
    true: Structure
    given: Structure | None

    @property
    def steps(self) -> int:
        """How many steps the engine found."""
        return len(self.given.steps) if self.given else 0

    def pairs(self, field: Field) -> list[Pair]:
        """Return the true and the found text of a field, step by step."""
        both = zip(self.true.steps, self.given.steps if self.given else (), strict=False)
        return [Pair("", field, getattr(a, field), getattr(b, field), True) for a, b in both]

    @property
    def answers_in_order(self) -> int:
        """The length of the longest common sequence of answers."""
        one = [_value(step.answer) for step in self.true.steps]
        other = [_value(step.answer) for step in self.given.steps] if self.given else []
        row = [0] * (len(other) + 1)
        for left in one:
            before = row[:]
            for j, right in enumerate(other):
                row[j + 1] = before[j] + 1 if left == right else max(before[j + 1], row[j])
        return row[-1]


def _value(answer: str) -> str:
    return (numbers(answer) or [answer.strip()])[-1]


async def by_words(pairs: Sequence[Pair]) -> list[bool]:
    """Return the small engine's verdicts, after the text rules."""
    verdicts = []
    for pair in pairs:
        obvious = obvious_verdict(pair.field, pair.first, pair.second)
        words = match_by_words(pair.field, pair.first, pair.second)
        verdicts.append(words.matched if obvious is None else obvious)
    return verdicts


async def by_embedder(embedder: LocalEmbedder, choose: Path) -> Matcher:
    """Return a matcher by MiniLM's cosine with the thresholds of `measure_judges.py`."""
    limits = await thresholds(read_pairs(choose), embedder)

    async def match(pairs: Sequence[Pair]) -> list[bool]:
        values = await cosines(pairs, embedder)
        return [value >= limits[pair.field] for pair, value in zip(pairs, values, strict=True)]

    return match


async def shares(some: Sequence[PathStructures], field: Field, matchers: Sequence[Matcher]) -> str:
    """Return the share of the true steps whose field matches, by each matcher."""
    pairs = list(chain.from_iterable(one.pairs(field) for one in some))
    steps = sum(len(one.true.steps) for one in some)
    found = [sum(await match(pairs)) / steps if pairs else 0.0 for match in matchers]
    first, *others = [f"{share:.1%}" for share in found]
    return first + "".join(f" ({share})" for share in others)


async def cells(some: Sequence[PathStructures], matchers: Sequence[Matcher]) -> list[str]:
    """Return the figures of some paths."""
    steps = sum(len(one.true.steps) for one in some)
    answers = [_value(p.first) == _value(p.second) for one in some for p in one.pairs("answer")]
    longer = sum(max(len(one.true.steps), one.steps) for one in some)
    whole = [one.given is not None and bool(one.given.final_answer) for one in some]
    return [
        str(len(some)),
        f"{fmean(one.given is not None for one in some):.1%}",
        f"{fmean(whole):.1%}",
        f"{fmean(one.steps == len(one.true.steps) for one in some):.1%}",
        f"{fmean(abs(one.steps - len(one.true.steps)) for one in some):.2f}",
        await shares(some, "meta_reasoning", matchers),
        await shares(some, "sub_problem", matchers),
        f"{sum(answers) / steps:.1%}",
        f"{sum(one.answers_in_order for one in some) / longer:.1%}",
    ]


def read(file: Path) -> tuple[dict[tuple[int, str], PathStructures], dict[str, float]]:
    """Return an engine's structures by row and variant, and what they took."""
    *rows, sums = map(json.loads, file.read_text("utf-8").splitlines())
    return {
        (row["row"], row["variant"]): PathStructures(
            row["variant"],
            parse_structure(row["structure"]),
            parse_structure(row["found"]) if row["found"] else None,
        )
        for row in rows
    }, sums


async def measure(files: Sequence[Path], matchers: Sequence[Matcher]) -> None:
    """Print the table of the paths that all files have."""
    by_file = {file: read(file) for file in files}
    keys = [set(found) for found, _ in by_file.values()]
    common = set.intersection(*keys)
    names = ("paths", "parse", "whole", "exact steps", "error", "plans", "sub-problems", "answers")
    engine = Column("engine", no_wrap=True)
    table = Table(engine, "variant", *names, "in order", "tokens", "asked", "seconds")
    for file, (found, sums) in by_file.items():
        for variant in (*VARIANTS, "all"):
            some = [found[key] for key in sorted(common) if variant in (found[key].variant, "all")]
            if not some:
                continue
            cost = ("", "", "")
            if variant == "all":  # of all its paths
                per = [sums[k] / sums["rows"] for k in ("completion_tokens", "requests", "seconds")]
                cost = f"{per[0]:.0f}", f"{per[1]:.2f}", f"{per[2]:.2f}"
            table.add_row(file.stem, variant, *await cells(some, matchers), *cost)
        table.add_section()
    Console(width=200).print(table)


async def main() -> None:
    """Measure the engines whose structures are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--embedder", type=Path)
    parser.add_argument("--choose", type=Path)
    options = parser.parse_args()
    matchers: list[Matcher] = [by_words]
    async with AsyncExitStack() as stack:
        if options.embedder:
            embedder = await stack.enter_async_context(LocalEmbedder(str(options.embedder)))
            matchers.append(await by_embedder(embedder, options.choose))
        await measure(options.files, matchers)


if __name__ == "__main__":
    asyncio.run(main())
