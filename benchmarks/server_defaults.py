"""Structures and verdicts of one model behind servers that were started in different ways.

    python -m benchmarks.server_defaults MODEL URL OTHER_URL [MORE_URLS] --data gsm8k_train.jsonl

The first server is the reference: `vllm serve MODEL --generation-config vllm`. Another one may have
a generation config of its own, or a `--reasoning-parser`. Each is asked alone, one request at a
time, as a batch of requests may change the last bit of a log-probability. Decomposes worked
solutions of GSM8K with the `construct` prompt, free and under the regex constraint, and judges the
pairs of `rlkd judge-check`. Prints what differs from the reference; ends with 1 where anything
does.
"""

import argparse
import asyncio
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row
from rlkd_plugin.rlkd_eval.judge_check import PAIRS, read_pairs

MAX_TOKENS = 400
"""Tokens of a structure: the small model that stands in for a GSRM may never end."""


async def ask(
    url: str, model: str, rows: list[dict[str, str]], pairs: int
) -> tuple[list[Decomposition], list[Verdict], ServerEngine]:
    """Return a server's structures, free and constrained, and its verdicts."""
    servers = {"gsrm_base_url": (url,), "gsrm_model": model, "gsrm_prompt": "construct"}
    servers |= {"judge_base_url": (url,), "judge_model": model}
    free = Settings(**servers, gsrm_max_tokens=MAX_TOKENS)
    engine = ServerEngine(free)
    structures = await decompose(engine, rows)
    held = free.model_copy(update={"gsrm_regex": True})
    structures += await decompose(ServerEngine(held), rows)
    async with engine:
        verdicts = [
            await engine.match(pair.field, pair.first, pair.second)
            for pair in read_pairs(PAIRS)[:pairs]
        ]
    return structures, verdicts, engine


async def decompose(engine: ServerEngine, rows: list[dict[str, str]]) -> list[Decomposition]:
    """Return the structures of the teachers' paths, one after another."""
    async with engine:
        return [
            await engine.decompose(row["problem"], "math", row["teacher_reasoning"]) for row in rows
        ]


def differences(reference: list[Any], other: list[Any]) -> str:
    """Return how many of two lists' results differ, as `1 of 8`."""
    differ = sum(one != another for one, another in zip(reference, other, strict=True))
    return f"{differ} of {len(reference)}"


def facts(structures: list[Decomposition]) -> list[tuple[Any, ...]]:
    """Return the values that a reward depends on, without the text of an unreadable reply."""
    return [(d.structure, d.status, d.cut) for d in structures]


def main() -> None:
    """Ask every server, and compare each with the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=120)
    options = parser.parse_args()
    with options.data.open(encoding="utf-8") as lines:
        rows = [gsm8k_row(json.loads(line)) for line in islice(lines, options.rows)]
    results = []
    for url in options.urls:
        structures, verdicts, engine = asyncio.run(ask(url, options.model, rows, options.pairs))
        statuses = [f"{d.status}{' cut' if d.cut else ''}" for d in structures]
        print(f"{url}: {statuses}")
        print(f"  verdicts by {sorted({v.source for v in verdicts})}", end="; ")
        print(f"{sum(v.matched for v in verdicts)} of {len(verdicts)} matched; {engine.usage}")
        results.append((structures, verdicts))
    reference, wanted = facts(results[0][0]), results[0][1]
    equal = True
    for url, (structures, verdicts) in zip(options.urls[1:], results[1:], strict=True):
        found, half = facts(structures), len(rows)
        print(
            f"{url} differs from {options.urls[0]} in "
            f"{differences(reference[:half], found[:half])} structures, "
            f"{differences(reference[half:], found[half:])} under the regex constraint, "
            f"{differences(wanted, verdicts)} verdicts"
        )
        equal = equal and found == reference and verdicts == wanted
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
