"""Table: judges on labelled pairs that none of them has seen.

    python benchmarks/small_gsrm/measure_judges.py OUT [--embedder MINILM] [--adapters OUT/adapters]

The rules engine's matcher; MiniLM's cosine with a threshold for each field, chosen on the problems
of `judge_choose.jsonl`; the LoRA judge, asked as in training; and the small engine, which asks that
judge, but compares answers with numbers by them, as the rules do. Pairs: `judge_unseen.jsonl` and,
with `--hand`, the 624 that are written by hand in four domains and come with the plugin.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from take_apart import engine_of

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.llm_io.prompted_engine import PromptedEngine
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
from rlkd_plugin.rlkd_eval.judge_check import PAIRS, Pair, judged, rates, read_pairs


async def cosines(pairs: Sequence[Pair], embedder: LocalEmbedder) -> list[float]:
    """Return the cosine of each pair's texts."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
    return [
        sum(a * b for a, b in zip(vectors[p.first], vectors[p.second], strict=True)) for p in pairs
    ]


def best_threshold(pairs: Sequence[Pair], values: Sequence[float]) -> float:
    """Return the value from which on calling a pair a match is right most often.

    It lies between two values that occur, so that equal values are not told apart.
    """
    ordered = sorted(zip(values, (pair.match for pair in pairs), strict=True), reverse=True)
    right = best = sum(not match for _, match in ordered)
    threshold = 1.01
    for (value, match), (after, _) in zip(ordered, [*ordered[1:], (-1.01, False)], strict=True):
        right += 1 if match else -1
        if right > best and after < value:
            best, threshold = right, (value + after) / 2
    return threshold


async def thresholds(chosen_on: Sequence[Pair], embedder: LocalEmbedder) -> dict[str, float]:
    """Return the best threshold of each field."""
    found = {}
    for field in FIELDS:
        some = [pair for pair in chosen_on if pair.field == field]
        found[field] = best_threshold(some, await cosines(some, embedder))
    return found


async def by_embeddings(
    pairs: Sequence[Pair], limits: dict[str, float], embedder: LocalEmbedder
) -> list[Verdict]:
    """Return the verdicts by cosine, each field with its own threshold."""
    values = await cosines(pairs, embedder)
    return [
        Verdict(value >= limits[pair.field], "rule", value)
        for pair, value in zip(pairs, values, strict=True)
    ]


class AdapterAlone:
    """The small engine's judge without the rule for numbers."""

    def __init__(self, small: PromptedEngine) -> None:
        self.small = small

    async def match(self, field: str, teacher: str, student: str) -> Verdict:
        """Return the adapter's own verdict."""
        return await PromptedEngine.match(self.small, field, teacher, student)

    def __getattr__(self, name: str) -> object:
        return getattr(self.small, name)

    async def __aenter__(self) -> "AdapterAlone":
        await self.small.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.small.__aexit__(*error)


def show(title: str, pairs: Sequence[Pair], verdicts: dict[str, Sequence[Verdict]]) -> None:
    """Print each judge's rates by field, and of plans and sub-problems together."""
    table = Table("judge", "field", "pairs", "accuracy", "false yes", "false no", title=title)
    for name, said in verdicts.items():
        told = list(zip(pairs, said, strict=True))
        groups = {field: (field,) for field in FIELDS}
        groups |= {"plans and questions": FIELDS[:2], "all": FIELDS}
        for group, fields in groups.items():
            some = [one for one in told if one[0].field in fields]
            if some:
                one = rates(*zip(*some, strict=True))
                shares = one.accuracy, one.false_positive, one.false_negative
                table.add_row(name, group, str(one.pairs), *(f"{share:.1%}" for share in shares))
        table.add_section()
    Console(width=100).print(table)


async def measure(options: argparse.Namespace) -> None:
    """Ask the judges."""
    sets = {"unseen problems": read_pairs(options.out / "judge_unseen.jsonl")}
    if options.hand:
        sets["by hand, four domains"] = read_pairs(PAIRS)
    small = engine_of("small", options.adapters)
    embedder = LocalEmbedder(str(options.embedder)) if options.embedder else None
    limits = {}
    if embedder:
        limits = await thresholds(read_pairs(options.out / "judge_choose.jsonl"), embedder)
        print("MiniLM's thresholds:", {field: round(value, 3) for field, value in limits.items()})
    for title, pairs in sets.items():
        verdicts = {"rules": (await judged(pairs, engine_of("rules", None))).verdicts}
        if embedder:
            begin = time.monotonic()
            verdicts["MiniLM"] = await by_embeddings(pairs, limits, embedder)
            print(f"MiniLM: {time.monotonic() - begin:.1f} s")
        lora = await judged(pairs, AdapterAlone(small))
        print(f"LoRA: {lora.seconds:.1f} s, {lora.usage.prompt_tokens:,} tokens in")
        both = await judged(pairs, small)
        show(title, pairs, {**verdicts, "LoRA": lora.verdicts, "small engine": both.verdicts})


def main() -> None:
    """Measure the judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--adapters", type=Path)
    parser.add_argument("--embedder", type=Path)
    parser.add_argument("--hand", action="store_true")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
