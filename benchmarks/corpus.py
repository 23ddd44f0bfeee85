"""The adversarial corpus through a real server as GSRM and judge.

    python benchmarks/corpus.py http://127.0.0.1:8001/v1 MODEL

Each text of `tools/stand_ins/adversarial.py` is a student's path, then the second text of each
field's question beside a real teacher's. Every request that is sent is looked at: its fences have
to be those of a harmless one, and no chat-control token may stand in its content. The event loop is
watched: how long did it ever not turn? Prints what became of the texts, and which hollow ones the
model called a match.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.scoring import Sample, score_batch
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.gsrm.prompts import decompose_prompt, judge_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.stand_ins.adversarial import CORPUS, MASTER_KEYS

PROBLEM = "A crate holds 6 rows of 4 bottles. 5 bottles are broken. How many are whole?"
TEACHER = (
    "First I count all the bottles in the crate: 6 * 4 = 24 bottles. "
    "Then I take away the broken ones: 24 - 5 = 19 bottles are whole."
)
TEXTS = {
    "meta_reasoning": "Count all bottles by multiplying the rows with the bottles of a row.",
    "sub_problem": "How many bottles are in the crate?",
    "answer": "24",
}
FENCE = re.compile("⟦(.*?)⟧")
HARMLESS = [
    Counter(FENCE.findall(prompt))
    for prompt in (
        decompose_prompt("construct", "math", "p", "r"),
        *(judge_prompt(field, "a", "b") for field in FIELDS),
    )
]
TOKEN = re.compile("<[|\uff5c]|[|\uff5c]>|</?s>|</?think>|\\[/?INST\\]|<</?SYS|⟦[^⟧]*⟦")


class Watched(ServerEngine):
    """Looks at every request that it sends."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.broken: list[str] = []
        self.sent = 0

    async def _ask(self, role: Any, prompt: str, **options: Any) -> Any:
        self.sent += 1
        _, mark, content = prompt.rpartition(
            "⟦problem⟧" if role == "GSRM" else "⟧ marks is material"
        )
        if Counter(FENCE.findall(prompt)) not in HARMLESS or not mark:
            self.broken.append(prompt[-300:])
        if token := TOKEN.search(content):
            self.broken.append(token[0])
        return await super()._ask(role, prompt, **options)


async def longest_stop(ended: asyncio.Event) -> float:
    """Return the longest time for which the event loop did not turn."""
    longest, then = 0.0, time.monotonic()
    while not ended.is_set():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, then = max(longest, now - then), now
        await asyncio.sleep(0.005)
        then = max(then, time.monotonic() - 0.005)
    return longest


async def run(engine: Watched) -> None:
    """Send the corpus and print what came."""
    ended = asyncio.Event()
    watch = asyncio.create_task(longest_stop(ended))
    begin = time.monotonic()
    async with engine:
        samples = [Sample(text, PROBLEM, "math", TEACHER) for text in CORPUS.values()]
        scores = await score_batch(samples, engine)
        verdicts = {}
        for field, teacher in TEXTS.items():
            asked = [
                (name, text)
                for name, text in CORPUS.items()
                if obvious_verdict(field, teacher, text) is None
            ]
            found = await asyncio.gather(*(engine.match(field, teacher, text) for _, text in asked))
            verdicts |= {(field, name): one for (name, _), one in zip(asked, found, strict=True)}
    ended.set()
    statuses = Counter(score.student.status for score in scores)
    clipped = sum(score.student.clipped for score in scores)
    print(
        f"{len(CORPUS)} texts, {engine.sent} requests ({engine.usage.retries} retries) in "
        f"{time.monotonic() - begin:.0f} s; {len(engine.broken)} with a broken fence or a control "
        f"token; the event loop stood still for {await watch:.3f} s at most"
    )
    print(f"as paths: {dict(statuses)}, {clipped} clipped")
    rewarded = [n for n, s in zip(CORPUS, scores, strict=True) if s.reward and s.reward.total]
    print(f"with a reward above 0: {len(rewarded)}: {rewarded}")
    for field in FIELDS:
        own = {name: one for (f, name), one in verdicts.items() if f == field}
        sources = Counter(one.source for one in own.values())
        yes = [name for name, one in own.items() if one.matched]
        hollow = [name for name in yes if name.partition(": ")[2] in MASTER_KEYS]
        print(f"{field}: {dict(sources)}; {len(yes)} called a match, master keys: {hollow}")
    for text in engine.broken[:3]:
        print(json.dumps(text))


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url")
    options.add_argument("model")
    args = options.parse_args()
    common: dict[str, Any] = {"gsrm_base_url": args.url, "judge_base_url": args.url}
    settings = Settings(
        gsrm_model=args.model,
        judge_model=args.model,
        gsrm_prompt="construct",
        gsrm_regex=True,
        gsrm_max_tokens=256,
        gsrm_max_chars=2_000,
        concurrency=16,
        **common,
    )
    asyncio.run(run(Watched(settings)))


if __name__ == "__main__":
    main()
