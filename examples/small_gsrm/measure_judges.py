"""Table: judges on labelled pairs that none of them has seen.

    python -m examples.small_gsrm.measure_judges OUT [--embedder MINILM] [--hand]

The rules engine's matcher; MiniLM's cosine with a threshold for each field; the LoRA judge of
`OUT/adapters/judge`, asked as in training, with a threshold for each field; and the small engine's
words, numbers and operations. Thresholds are chosen on the problems of `judge_choose.jsonl`. Pairs:
`judge_unseen.jsonl` and, with `--hand`, the 624 that are written by hand in four domains and come
with the plugin.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.small_gsrm.decompose_paths import engine_of
from rlkd_plugin.engines.base import Engine, Verdict
from rlkd_plugin.engines.word_matcher import match_by_words
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
from rlkd_plugin.rlkd_eval.judge_check import PAIRS, Pair, judge_pairs, rates, read_pairs


async def cosines(pairs: Sequence[Pair], embedder: LocalEmbedder) -> list[float]:
    """Return the cosine of each pair's texts."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
    return [
        sum(a * b for a, b in zip(vectors[p.first], vectors[p.second], strict=True)) for p in pairs
    ]


def best_threshold(pairs: Sequence[Pair], values: Sequence[float]) -> float:
    """Return the threshold at which calling a pair a match is right most often.

    It lies between two different values, so that equal values get the same verdict.
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


def show(title: str, pairs: Sequence[Pair], verdicts: dict[str, Sequence[Verdict]]) -> None:
    """Print each judge's rates by field, and of plans and sub-problems together."""
    table = Table("judge", "field", "pairs", "accuracy", "false yes", "false no", title=title)
    for name, answers in verdicts.items():
        both = list(zip(pairs, answers, strict=True))
        groups = {field: (field,) for field in FIELDS}
        groups |= {"plans and questions": FIELDS[:2], "all": FIELDS}
        for group, fields in groups.items():
            some = [one for one in both if one[0].field in fields]
            if some:
                one = rates([pair for pair, _ in some], [verdict for _, verdict in some])
                shares = one.accuracy, one.false_positive, one.false_negative
                cells = [f"{share:.1%}" for share in shares]
                table.add_row(name, group, str(one.pairs), *cells)
        table.add_section()
    Console(width=100).print(table)


async def judge_thresholds(chosen_on: Sequence[Pair], judge: Engine) -> dict[str, float]:
    """Return the best probability of yes of each field for the LoRA judge."""
    found = await judge_pairs(chosen_on, judge)
    limits = {}
    for field in FIELDS:
        both = [t for t in zip(chosen_on, found.verdicts, strict=True) if t[0].field == field]
        some, verdicts = zip(*both, strict=True)
        limits[field] = best_threshold(some, [v.probability or 0.0 for v in verdicts])
    return limits


async def by_judge(
    pairs: Sequence[Pair], limits: dict[str, float], judge: Engine
) -> tuple[list[Verdict], str]:
    """Return the LoRA judge's verdicts with a threshold for each field, and what it took."""
    asked = await judge_pairs(pairs, judge)
    cost = f"{asked.seconds:.1f} s, {asked.usage.prompt_tokens:,} tokens in"
    probable = [verdict.probability or 0.0 for verdict in asked.verdicts]
    return [
        Verdict(value >= limits[pair.field], "logprob", value)
        for pair, value in zip(pairs, probable, strict=True)
    ], cost


async def measure(options: argparse.Namespace) -> None:
    """Ask the judges."""
    async with AsyncExitStack() as stack:
        embedder = None
        if options.embedder:
            embedder = await stack.enter_async_context(LocalEmbedder(str(options.embedder)))
        await measure_with(options, embedder)


async def measure_with(options: argparse.Namespace, embedder: LocalEmbedder | None) -> None:
    """Ask the judges, one by embeddings among them if there is an embedder."""
    sets = {"unseen problems": read_pairs(options.out / "judge_unseen.jsonl")}
    if options.hand:
        sets["by hand, four domains"] = read_pairs(PAIRS)
    choose = read_pairs(options.out / "judge_choose.jsonl")
    judge = engine_of("judge", options.out / "adapters" / "judge")
    limits = await thresholds(choose, embedder) if embedder else {}
    judge_limits = await judge_thresholds(choose, judge)
    for name, chosen in (("MiniLM", limits), ("LoRA", judge_limits)):
        print(f"thresholds of {name}:", {field: round(v, 3) for field, v in chosen.items()})
    for title, pairs in sets.items():
        verdicts = {"rules": (await judge_pairs(pairs, engine_of("rules"))).verdicts}
        if embedder:
            begin = time.monotonic()
            verdicts["MiniLM"] = await by_embeddings(pairs, limits, embedder)
            print(f"MiniLM: {time.monotonic() - begin:.1f} s")
        verdicts["LoRA"], cost = await by_judge(pairs, judge_limits, judge)
        print(f"LoRA: {cost}")
        verdicts["words"] = [match_by_words(p.field, p.first, p.second) for p in pairs]
        show(title, pairs, verdicts)


def main() -> None:
    """Measure the judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--embedder", type=Path)
    parser.add_argument("--hand", action="store_true")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
