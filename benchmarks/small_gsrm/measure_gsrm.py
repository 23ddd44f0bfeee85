"""Table: how near the structures of engines come to the ones that the paths were made with.

    python benchmarks/small_gsrm/measure_gsrm.py OUT/by_rules.jsonl OUT/by_small.jsonl ...

Reads what `take_apart.py` wrote. A path without a structure counts as one of no steps. Steps are
compared at their place, as Algorithm 1 does; the shares are of the true steps. Sub-problems and
meta-reasonings are matched by the judge of `--adapters` (the small engine's own, where none are
named), answers by their numbers.
"""

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from paths import VARIANTS
from problems import numbers
from rich.console import Console
from rich.table import Table
from take_apart import engine_of

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import Step, Structure, parse_structure
from rlkd_plugin.gsrm.texts import obvious_verdict


@dataclass(frozen=True, slots=True)
class Compared:
    """One path: its true steps, the steps found, and at how many places each field matches."""

    variant: str
    true: int
    found: int | None
    plans: int
    questions: int
    answers: int


async def compared(row: dict, matcher: Engine) -> Compared:
    """Compare the structure that was found for a path with the true one."""
    true = parse_structure(row["structure"])
    found: Structure | None = parse_structure(row["found"]) if row["found"] else None
    steps = list(zip(true.steps, found.steps if found else (), strict=False))
    told = await asyncio.gather(*(_matched(*both, matcher) for both in steps))
    sums = [sum(column) for column in zip(*told, strict=True)] or [0, 0, 0]
    return Compared(row["variant"], len(true.steps), len(found.steps) if found else None, *sums)


async def _matched(true: Step, found: Step, matcher: Engine) -> tuple[bool, bool, bool]:
    async def matches(field: str) -> bool:
        texts = getattr(true, field), getattr(found, field)
        obvious = obvious_verdict(field, *texts)
        return (await matcher.match(field, *texts)).matched if obvious is None else obvious

    plans, questions = await asyncio.gather(matches("meta_reasoning"), matches("sub_problem"))
    return plans, questions, numbers(true.answer)[-1:] == numbers(found.answer)[-1:]


def cells(some: list[Compared]) -> list[str]:
    """Return the figures of some paths."""
    steps = sum(one.true for one in some)
    right = fmean(one.found == one.true for one in some)
    shares = (sum(getattr(o, f) for o in some) / steps for f in ("plans", "questions", "answers"))
    return [
        str(len(some)),
        f"{fmean(one.found is not None for one in some):.1%}",
        f"{right:.1%}",
        f"{fmean(abs((one.found or 0) - one.true) for one in some):.2f}",
        *(f"{share:.1%}" for share in shares),
    ]


async def measure(files: list[Path], matcher: Engine) -> None:
    """Print the table."""
    names = ("paths", "parse", "exact steps", "error", "plans", "sub-problems", "answers")
    table = Table("engine", "variant", *names, "tokens", "seconds")
    for file in files:
        *rows, sums = map(json.loads, file.read_text("utf-8").splitlines())
        async with matcher:
            done = await asyncio.gather(*(compared(row, matcher) for row in rows))
        for variant in (*VARIANTS, "all"):
            some = [one for one in done if variant in (one.variant, "all")]
            cost = ("", "")
            if variant == "all":
                per = sums["completion_tokens"] / len(rows), sums["seconds"] / len(rows)
                cost = f"{per[0]:.0f}", f"{per[1]:.2f}"
            table.add_row(file.stem, variant, *cells(some), *cost)
        table.add_section()
    Console(width=140).print(table)


def main() -> None:
    """Measure the engines whose structures are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--adapters", type=Path)
    parser.add_argument("--matcher", choices=("small", "rules"), default="small")
    options = parser.parse_args()
    asyncio.run(measure(options.files, engine_of(options.matcher, options.adapters)))


if __name__ == "__main__":
    main()
