"""Two ranks of one run score batches, each with its own share of rejected texts; a script.

Each rank is a process of its own in a gloo group, as in a training. Rank 0 prints, for each story,
the batch at which each rank ended its run, and the sentence.
"""

import asyncio
import json

import torch.distributed as dist

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import EndpointError, Field, Step, Structure
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer

BATCHES = 4
COMPLETIONS = 100
STORIES = {
    "one unlucky rank": (0, 8),  # rejected of 100 completions, by rank: 4% of the run's
    "a bad run": (2, 40),
    "a bad run, the other way round": (40, 2),
    "only the last rank scores": (None, 40),
}


class Rejecting(RulesEngine):
    """Rejects paths that speak of poison; everything else is one step, and matches."""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        if "poison" in path:
            return Decomposition(None, "refused", reply=f"rejected by rank {dist.get_rank()}")
        return Decomposition(Structure((Step("plan", "question", path),)))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        return Verdict(True, "text")


def tell(rejected: int | None) -> tuple[int, str]:
    """Score batches until the run ends; return the number of the batch, 0 for none, and why."""
    scorer = Scorer(load_settings(), Rejecting(), None)
    ended = 0, ""
    for number in range(1, BATCHES + 1):
        if rejected is not None and not ended[0]:
            texts = [f"{'poison' if n < rejected else 'food'} {n}" for n in range(COMPLETIONS)]
            columns = {"problem": "P", "domain": "math", "teacher_reasoning": "food"}
            try:
                asyncio.run(
                    scorer.rewards(texts, **{k: [v] * len(texts) for k, v in columns.items()})
                )
            except EndpointError as error:
                ended = number, str(error)
        dist.barrier()  # a trainer gathers the rewards here
    return ended


def main() -> None:
    dist.init_process_group("gloo")
    found = {}
    for story, rejected in STORIES.items():
        outcomes = [None] * dist.get_world_size()
        dist.all_gather_object(outcomes, tell(rejected[dist.get_rank()]))
        found[story] = outcomes
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
