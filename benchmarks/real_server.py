"""The reward against a real server: its verdicts, then its structures.

    python -m benchmarks.real_server http://127.0.0.1:8001/v1 MODEL gsm8k_train.jsonl

Samples 16 completions of GSM8K problems (4 problems with long worked solutions, 4 each) from the
model that the server has. First the rules engine decomposes and the server judges, as the reward
asks and then every field of every pair of steps; then the server is the GSRM as well, with the
`construct` prompt and the regex constraint. Prints counts.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path

from rlkd_plugin.engines.base import Decomposition, Usage
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import FIELDS, Field
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row

INSTRUCTION = "Solve the problem step by step. Write one sentence with one equation for each step."


class RulesThenServer(ServerEngine):
    """Decomposes by rules and judges with the server."""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        return await RulesEngine().decompose(problem, domain, path)


async def sample_completions(settings: Settings, rows: list[dict[str, str]]) -> list[Sample]:
    """Sample 4 completions a row from the judge's model."""
    endpoint = Endpoint("judge", settings.judge_base_url, settings.judge_model, "")
    client = ChatClient(
        endpoint, request_timeout=300, patience=60, startup_patience=60, usage=Usage()
    )

    async def one(row: dict[str, str], seed: int) -> Sample:
        messages = [{"role": "user", "content": f"{row['problem']}\n{INSTRUCTION}"}]
        reply = await client.complete(messages, max_tokens=256, temperature=0.7, seed=seed)
        return Sample(reply.text, row["problem"], row["domain"], row["teacher_reasoning"])

    async with client:
        requests = [one(row, seed) for row in rows for seed in range(4)]
        return list(await asyncio.gather(*requests))


async def judge_all(engine: ServerEngine, scores: list[Score]) -> None:
    """Judge all fields of all steps that have a partner, early exit or not, and print counts."""
    questions: list[tuple[Field, str, str]] = [
        (field, getattr(teacher, field), getattr(student, field))
        for score in scores
        if score.teacher.structure and score.student.structure
        for teacher, student in zip(
            score.teacher.structure.steps, score.student.structure.steps, strict=False
        )
        for field in FIELDS
    ]
    started = time.monotonic()
    async with engine:
        asks = [engine.match(field, teacher, student) for field, teacher, student in questions]
        verdicts = await asyncio.gather(*asks)
    seconds = time.monotonic() - started
    print(f"== every field of every pair of steps: {len(verdicts)} verdicts, {seconds:.1f} s")
    print(f"by {Counter(v.source for v in verdicts)}")
    fields = [field for field, *_ in questions]
    matched = [field for field, v in zip(fields, verdicts, strict=True) if v.matched]
    print(f"asked {Counter(fields)}, matched {Counter(matched)}")


async def score(engine: ServerEngine, samples: list[Sample]) -> tuple[list[Score], float]:
    """Score the samples and return the seconds it took."""
    started = time.monotonic()
    async with engine:
        scores = await score_batch(samples, engine)
    return scores, time.monotonic() - started


def report(title: str, engine: ServerEngine, scores: list[Score], seconds: float) -> None:
    """Print the outcomes of a batch."""
    verdicts = [(q, v) for score in scores for q, v in score.verdicts]
    by_judge = [(q, v) for q, v in verdicts if v.source != "rule"]
    students = Counter(score.student.status for score in scores)
    teachers = Counter(score.teacher.status for score in scores)
    print(f"== {title}: {len(scores)} completions, {seconds:.1f} s")
    print(f"students {dict(students)}, teachers (by completion) {dict(teachers)}")
    sources = Counter(v.source for _, v in by_judge)
    print(f"verdicts {len(verdicts)}, judged {len(by_judge)}, by {sources}")
    print(f"judged by field {Counter(q.field for q, _ in by_judge)}")
    print(f"of these matched {Counter(q.field for q, v in by_judge if v.matched)}")
    print(f"rewards {[score.reward.total if score.reward else None for score in scores]}")
    print(f"usage {engine.usage}")


async def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    rows = [gsm8k_row(json.loads(line)) for line in options.data.open(encoding="utf-8")]
    rows.sort(key=lambda row: -row["teacher_reasoning"].count("\n"))
    settings = Settings(
        gsrm_base_url=(options.base_url,),
        gsrm_model=options.model,
        judge_base_url=(options.base_url,),
        judge_model=options.model,
    )
    samples = await sample_completions(settings, rows[:4])
    engine = RulesThenServer(settings)
    scores, seconds = await score(engine, samples)
    report("rules decompose, the server judges", engine, scores, seconds)
    await judge_all(engine, scores)
    untrained = {"gsrm_prompt": "construct", "gsrm_regex": True, "gsrm_max_tokens": 1024}
    server = ServerEngine(settings.model_copy(update=untrained))
    scores, seconds = await score(server, samples)
    report("the server decomposes and judges", server, scores, seconds)


if __name__ == "__main__":
    asyncio.run(main())
