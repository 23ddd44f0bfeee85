"""Requests, seconds and rewards with 1, 2 and 4 branches of a teacher, on a scripted server.

    python -m benchmarks.branches [--rounds 3]

8 problems with 8 completions each; the teacher has four plans a problem, 8 steps each, whose
structures come as columns. A completion follows one of the plans, which is drawn, for 1 to 8 steps.
The last line compares every branch to its end, as four rewards of one branch would: its further
requests are what the other lines save by leaving branches that cannot win. The servers are those
of `streamed_reward`.
"""

import argparse
import random
from collections.abc import Sequence
from statistics import median

from benchmarks.reward import run_scripted
from benchmarks.scripted_server import Script
from benchmarks.streamed_reward import (
    JUDGE_SECONDS,
    RATE,
    STEPS,
    Run,
    count,
    make_samples,
    mean,
    run_batch,
    scripted,
    structure,
    written,
)
from rlkd_plugin.engines.scoring import BranchText, Sample
from rlkd_plugin.gsrm import render_structure
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.batch import score

PROBLEMS, COMPLETIONS, PLANS = 8, 8, 4
BRANCHES = (1, 2, 4)
HEAD = """\
| branches | seconds | judge requests | GSRM tokens | mean reward | completions with more than by \
the first alone |
| --- | --- | --- | --- | --- | --- |"""


def plan_of(problem: int, plan: int) -> int:
    """Return the number by which the scripted server knows a plan."""
    return 10 * problem + plan


def draw_samples(seed: int) -> list[Sample]:
    """Return the completions with all branches."""
    dice = random.Random(seed)
    samples: list[Sample] = []
    for problem in range(PROBLEMS):
        plans = [render_structure(structure(plan_of(problem, plan))) for plan in range(PLANS)]
        others = tuple(BranchText("", text) for text in plans[1:])
        for completion in range(COMPLETIONS):
            followed = plan_of(problem, dice.randrange(PLANS))
            depth = dice.randint(1, STEPS)
            path = (
                f"Completion {completion} of problem {followed} follows its teacher for {depth} "
                "steps"
            )
            text = f"<think>{path}.</think>"
            samples.append(Sample(text, f"Problem {problem}", "math", "", plans[0], others))
    return samples


def with_branches(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return the samples with fewer branches."""
    return [
        Sample(
            one.completion,
            one.problem,
            one.domain,
            one.teacher_reasoning,
            one.teacher_structure,
            one.more_branches[: most - 1],
        )
        for one in samples
    ]


def apart(samples: Sequence[Sample]) -> list[Sample]:
    """Return a sample for each branch of each."""
    return [
        Sample(one.completion, one.problem, one.domain, branch.reasoning, branch.structure)
        for one in samples
        for branch in one.branches
    ]


def compare(settings: Settings, samples: Sequence[Sample], rounds: int) -> None:
    """Measure all numbers of branches in turn, and print their medians."""
    ways = {str(most): with_branches(samples, most) for most in BRANCHES}
    ways[f"{PLANS}, each to its end"] = apart(samples)
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, batch in ways.items():
            runs[way].append(run_batch(settings, batch, streams=True))
    alone = runs[str(BRANCHES[0])][0].rewards
    print(HEAD)
    for way, done in runs.items():
        rewards = done[0].rewards
        if len(rewards) > len(alone):
            rewards = [max(rewards[i : i + PLANS]) for i in range(0, len(rewards), PLANS)]
        more = sum(one > first for one, first in zip(rewards, alone, strict=True))
        seconds = median(run.seconds for run in done)
        asked = count(done, "requests", "judge")
        print(
            f"| {way} | {seconds:.2f} | {asked:g} | {written(done):,.0f} | {mean(rewards):.3f} | "
            f"{more} of {len(rewards)} |"
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    def act(settings: Settings) -> None:
        score(ServerEngine(settings), make_samples([1]))  # until the server is up
        compare(settings, draw_samples(options.seed), options.rounds)

    script = Script(judge=JUDGE_SECONDS, tokens_per_second=RATE, answer=scripted)
    run_scripted(script, act)


if __name__ == "__main__":
    main()
