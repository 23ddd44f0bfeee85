"""From scored completions to the files that `rlkd report` reads, over problems and seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean

from examples.miniature.measure import Scored
from examples.miniature.sample import Sampling
from examples.miniature.sets import TEST_SETS
from rlkd_plugin.rlkd_eval.comparison import SHARE, ArmDifference
from rlkd_plugin.rlkd_eval.paired import arm_mean, paired_difference
from rlkd_plugin.rlkd_eval.pass_at_k import any_of_k, per_problem_pass_at_k
from rlkd_plugin.rlkd_eval.result_values import Interval
from rlkd_plugin.rlkd_eval.results import Evaluation, PassAtK, SetResult

Seeds = Mapping[int, Sequence[Sequence[Scored]]]
"""A problem's scored completions by seed; seed 0 is a student that all arms start from."""

Measured = Mapping[str, Seeds]
"""The scores by test set."""

KS = (2, 4, 8)


def rights(seed: Sequence[Sequence[Scored]]) -> list[list[bool]]:
    """Return which samples of each problem are right."""
    return [[one.right for one in samples] for samples in seed]


def table(seeds: Seeds, value: Callable[[Scored], float]) -> list[list[float]]:
    """Return each problem's mean of a value, [seeds, problems]."""
    return [[fmean(map(value, samples)) for samples in seed] for seed in seeds.values()]


def pass_table(seeds: Seeds, k: int) -> list[list[float]]:
    """Return each problem's unbiased pass@k, [seeds, problems]."""
    return [per_problem_pass_at_k(rights(seed), k) for seed in seeds.values()]


def set_result(name: str, seeds: Seeds) -> SetResult:
    """Return an arm's result on a test set: means and 95% intervals over problems and seeds."""
    samples = min(len(drawn) for seed in seeds.values() for drawn in seed)
    ks = [k for k in KS if k <= samples]
    return SetResult(
        name=TEST_SETS[name],
        problems=len(next(iter(seeds.values()))),
        samples=samples,
        cut_off=_share(table(seeds, lambda one: one.cut_off)).value,
        pass_at_1=_share(pass_table(seeds, 1)),
        pass_at_1_of_runs={samples: _share(pass_table(seeds, 1)).value},
        pass_at_k={k: _pass_at_k(seeds, k) for k in ks},
        structure=arm_mean(table(seeds, lambda one: one.reward)),
        depth=arm_mean(table(seeds, lambda one: one.depth)),
        beyond_teacher=_share(table(seeds, lambda one: one.beyond)),
    )


def evaluation(
    label: str, run: str | None, step: int | None, sampling: Sampling, measured: Measured
) -> Evaluation:
    """Return an arm's evaluation at a step; `run` is None for a student that is no arm."""
    settings = {name: value for name, value in asdict(sampling).items() if name != "seed"}
    seeds = len(next(iter(measured.values())))
    return Evaluation(
        label=label,
        model=run or label,
        run=run,
        step=step,
        settings={**settings, "training seeds": seeds},
        sets={name: set_result(name, found) for name, found in measured.items()},
    )


MEASURES: Mapping[str, tuple[str, Callable[[Seeds], list[list[float]]]]] = {
    "pass@1": (SHARE, lambda seeds: pass_table(seeds, 1)),
    "pass@8": (SHARE, lambda seeds: pass_table(seeds, 8)),
    "structure reward": ("of 1", lambda seeds: table(seeds, lambda one: one.reward)),
    "beyond the teacher": (SHARE, lambda seeds: table(seeds, lambda one: one.beyond)),
}
"""The measures that are compared: each with its unit and its table of scores."""


def differences(
    pairs: Sequence[tuple[str, str]], titles: Mapping[str, str], finals: Mapping[str, Measured]
) -> list[ArmDifference]:
    """Return the paired differences of arms on every test set and in every measure.

    Args:
        pairs: first and second arm; a pair without a common seed is skipped.
        titles: the arms' names in tables.
        finals: the arms' results at their last steps.
    """
    found = []
    for measure, (unit, scores) in MEASURES.items():
        for name in TEST_SETS:
            for first, second in pairs:
                one, other = common_seeds(finals, first, second, name)
                if one:
                    found.append(
                        ArmDifference(
                            test_set=TEST_SETS[name],
                            measure=measure,
                            unit=unit,
                            first=titles[first],
                            second=titles[second],
                            seeds=len(one),
                            problems=len(next(iter(one.values()))),
                            difference=paired_difference(scores(one), scores(other)),
                        )
                    )
    return found


def common_seeds(
    finals: Mapping[str, Measured], first: str, second: str, name: str
) -> tuple[Seeds, Seeds]:
    """Return two arms' results on a set for the seeds that both have; a student's for each."""
    one, other = finals.get(first, {}).get(name, {}), finals.get(second, {}).get(name, {})
    if set(other) == {0}:
        return one, dict.fromkeys(one, other[0])
    seeds = [seed for seed in one if seed in other]
    return {seed: one[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}


def _share(scores: list[list[float]]) -> Interval:
    found = arm_mean(scores)
    return Interval(found.value, found.low, found.high)


def _pass_at_k(seeds: Seeds, k: int) -> PassAtK:
    found = arm_mean(pass_table(seeds, k))
    return PassAtK(
        fmean(any_of_k(rights(seed), k) for seed in seeds.values()),
        found.value,
        found.low,
        found.high,
    )
