"""The adversarial corpus through a real server as GSRM and judge.

    python -m benchmarks.corpus http://127.0.0.1:8001/v1 MODEL

Each text of `tools/stand_ins/adversarial.py` is a student's path, then the second text of each
field's question beside a real teacher's. Every request is checked: its fences have to be those of a
harmless one, and its content may have no chat-control token. Prints the outcomes, the master keys
that the model called a match, and the longest time for which the event loop was blocked.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from typing import Any

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import FIELDS, Field
from rlkd_plugin.gsrm.prompts import decompose_prompt, judge_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.adversarial import CORPUS, MASTER_KEYS

PROBLEM = "A crate holds 6 rows of 4 bottles. 5 bottles are broken. How many are whole?"
TEACHER = (
    "First I count all the bottles in the crate: 6 * 4 = 24 bottles. "
    "Then I take away the broken ones: 24 - 5 = 19 bottles are whole."
)
TEXTS: dict[Field, str] = {
    "meta_reasoning": "Count all bottles by multiplying the rows with the bottles of a row.",
    "sub_problem": "How many bottles are in the crate?",
    "answer": "24",
}
FENCE = re.compile("⟦(.*?)⟧")
HARMLESS_PROMPTS = [decompose_prompt("construct", "math", "p", "r")]
HARMLESS_PROMPTS += [judge_prompt(field, "a", "b") for field in FIELDS]
HARMLESS = [Counter(FENCE.findall(prompt)) for prompt in HARMLESS_PROMPTS]
TOKEN = re.compile("<[|\uff5c]|[|\uff5c]>|</?s>|</?think>|\\[/?INST\\]|<</?SYS|⟦[^⟧]*⟦")


class CheckedEngine(ServerEngine):
    """Checks every request that it sends."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.broken: list[str] = []
        self.sent = 0

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        self.sent += 1
        _, mark, content = prompt.rpartition(
            "⟦problem⟧" if role == "GSRM" else "⟧ marks is material"
        )
        if Counter(FENCE.findall(prompt)) not in HARMLESS or not mark:
            self.broken.append(prompt[-300:])
        if token := TOKEN.search(content):
            self.broken.append(token[0])
        return await super()._ask(role, prompt, **options)


async def longest_block(ended: asyncio.Event) -> float:
    """Return the longest time for which the event loop was blocked."""
    longest, then = 0.0, time.monotonic()
    while not ended.is_set():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, then = max(longest, now - then), now
        await asyncio.sleep(0.005)
        then = max(then, time.monotonic() - 0.005)
    return longest


async def run(engine: CheckedEngine) -> None:
    """Send the corpus and print the outcomes."""
    ended = asyncio.Event()
    watch = asyncio.create_task(longest_block(ended))
    begin = time.monotonic()
    async with engine:
        samples = [Sample(text, PROBLEM, "math", TEACHER) for text in CORPUS.values()]
        scores = await score_batch(samples, engine)
        verdicts: dict[Field, dict[str, Verdict]] = {}
        for field in FIELDS:
            verdicts[field] = await judge(engine, field)
    ended.set()
    print(
        f"{len(CORPUS)} texts, {engine.sent} requests ({engine.usage.retries} retries) in "
        f"{time.monotonic() - begin:.0f} s; {len(engine.broken)} with a broken fence or a control "
        f"token; the event loop was blocked for {await watch:.3f} s at most"
    )
    report(scores, verdicts)
    for text in engine.broken[:3]:
        print(json.dumps(text))


async def judge(engine: CheckedEngine, field: Field) -> dict[str, Verdict]:
    """Return the verdicts on a field's texts that need the judge, by their names."""
    teacher = TEXTS[field]
    texts = {
        name: text for name, text in CORPUS.items() if obvious_verdict(field, teacher, text) is None
    }
    asks = [engine.match(field, teacher, text) for text in texts.values()]
    verdicts = await asyncio.gather(*asks)
    return dict(zip(texts, verdicts, strict=True))


def report(scores: list[Score], verdicts: dict[Field, dict[str, Verdict]]) -> None:
    """Print the outcomes of the texts as paths and as fields."""
    statuses = Counter(score.student.status for score in scores)
    clipped = sum(score.student.clipped for score in scores)
    print(f"as paths: {dict(statuses)}, {clipped} clipped")
    rewarded = [n for n, s in zip(CORPUS, scores, strict=True) if s.reward and s.reward.total]
    print(f"with a reward above 0: {len(rewarded)}: {rewarded}")
    for field, by_name in verdicts.items():
        sources = Counter(verdict.source for verdict in by_name.values())
        yes = [name for name, verdict in by_name.items() if verdict.matched]
        keys = [name for name in yes if name.partition(": ")[2] in MASTER_KEYS]
        print(f"{field}: {dict(sources)}; {len(yes)} called a match, master keys: {keys}")


def main() -> None:
    """Run it against the server that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    options = parser.parse_args()
    settings = Settings(
        gsrm_base_url=(options.url,),
        gsrm_model=options.model,
        gsrm_prompt="construct",
        gsrm_regex=True,
        gsrm_max_tokens=256,
        gsrm_max_chars=2_000,
        judge_base_url=(options.url,),
        judge_model=options.model,
        concurrency=16,
    )
    asyncio.run(run(CheckedEngine(settings)))


if __name__ == "__main__":
    main()
