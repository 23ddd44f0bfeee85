"""Requests, seconds and rewards with 1, 2 and 4 branches of a teacher, at a real vLLM server.

    vllm serve MODEL --served-model-name m --dtype float32 --generation-config vllm --port 8001
    python -m benchmarks.branches_vllm http://127.0.0.1:8001/v1 m --data gsm8k_train.jsonl

One server is GSRM (`construct` prompt, regex constraint) and judge, as in `streamed_vllm`. The
branches are GSM8K's worked solution and three variants of it: with another first step, without
the second step, reworded. The server decomposes them beforehand. An untrained model judges, so the
rewards say nothing about branches.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from benchmarks.branches import BRANCHES, with_branches
from benchmarks.gsm8k_students import make_completions
from benchmarks.streamed_vllm import GREEDY, VARIANTS, reward, run, with_teachers
from rlkd_plugin.engines.scoring import BranchText, Sample
from rlkd_plugin.gsrm.texts import reasoning_path
from rlkd_plugin.llm_io.settings import Settings

FILLER = "Let me check it. "
"""Text that `gsm8k_students` adds after each step of a completion."""
PATHS = (3, 2, 0)
"""The completions of a problem that serve as its further branches."""


async def with_structures(settings: Settings, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples of the problems whose four branches have a structure each."""
    groups = [samples[i : i + VARIANTS] for i in range(0, len(samples), VARIANTS)]
    teachers = [[group[0], *(_taught_by(group[path]) for path in PATHS)] for group in groups]
    found = [
        {one.problem: one.teacher_structure for one in await with_teachers(settings, column)}
        for column in map(list, zip(*teachers, strict=True))
    ]
    kept: list[Sample] = []
    for group, paths in zip(groups, teachers, strict=True):
        structures = [column.get(group[0].problem) for column in found]
        if None in structures:
            continue
        branches = [
            BranchText(path.teacher_reasoning, structure)
            for path, structure in zip(paths, structures, strict=True)
        ]
        first, *others = branches
        kept += [
            replace(one, teacher_structure=first.structure, more_branches=tuple(others))
            for one in group
        ]
    return kept


def _taught_by(completion: Sample) -> Sample:
    path = reasoning_path(completion.completion).replace(FILLER, "")
    return replace(completion, teacher_reasoning=path)


def main() -> None:
    """Score the batch with each number of branches, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings = Settings(
        gsrm_base_url=(options.url,),
        gsrm_model=options.model,
        gsrm_prompt="construct",
        gsrm_regex=True,
        gsrm_max_tokens=options.max_tokens,
        gsrm_body=GREEDY,
        judge_base_url=(options.url,),
        judge_model=options.model,
    )
    samples = make_completions(options.data, options.problems, options.seed)
    samples = asyncio.run(with_structures(settings, samples))
    print(f"{len(samples)} completions", flush=True)
    for number in range(options.rounds):
        order = BRANCHES if number % 2 == 0 else BRANCHES[::-1]
        for most in order:
            done = run(settings, with_branches(samples, most))
            rewards = [reward(score) or 0 for score in done.scores]
            won = sum(score.branch > 0 for score in done.scores)
            print(f"  {most} branches: {done.line()}")
            print(f"    reward {fmean(rewards):.3f}, {won} won by another branch", flush=True)


if __name__ == "__main__":
    main()
