"""The miniature's results, from scored completions: over seeds, over arms, in figure 5."""

from pathlib import Path

import pytest

from examples.miniature import figures
from examples.miniature.measure import Scored
from examples.miniature.problems import SMALL, Generator
from examples.miniature.results import common_seeds, differences, set_result
from examples.miniature.sample import Completion, Sampling
from examples.miniature.sets import TEST_SETS
from examples.miniature.snapshots import Samples, Snapshot, draw_into, snapshots_of
from rlkd_plugin.gsrm import Step


def scored(right: bool, reward: float = 0.5, steps: int = 2) -> Scored:
    step = Step("m", "q", "a")
    return Scored(right, True, reward, 1, (step,) * steps, steps > 3, cut_off=not right)


def arm(*seeds: int, right: int) -> dict[str, dict[int, list[list[Scored]]]]:
    """Return results of two problems: `right` of 8 samples of the first are, none of the second."""
    problems = [[scored(place < right) for place in range(8)], [scored(False, 0.25)] * 8]
    return {name: dict.fromkeys(seeds, problems) for name in TEST_SETS}


def test_a_set_s_result_is_the_mean_over_problems_and_seeds() -> None:
    found = set_result("own:known", arm(1, 2, right=4)["own:known"])
    assert (found.problems, found.samples) == (2, 8)
    assert found.pass_at_1.value == pytest.approx(0.25)
    assert found.cut_off == pytest.approx(0.75)
    assert found.structure and found.structure.value == pytest.approx(0.375)
    assert found.depth and found.depth.value == 1
    assert found.beyond_teacher and found.beyond_teacher.value == 0
    # of 8 samples with 4 right: 1 - C(4, 2) / C(8, 2) = 1 - 6 / 28
    assert found.pass_at_k[2].unbiased == pytest.approx((1 - 6 / 28) / 2)
    assert found.pass_at_k[8].unbiased == pytest.approx(0.5)
    assert found.pass_at_k[2].any == pytest.approx(0.5)


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    finals = {"rlkd": arm(1, 2, 3, right=8), "grpo": arm(1, 3, right=4), "warmed": arm(0, right=2)}
    titles = {name: name for name in finals}
    pairs = [("rlkd", "grpo"), ("grpo", "warmed"), ("rlkd", "sft")]
    found = {
        (d.first, d.second): d
        for d in differences(pairs, titles | {"sft": "sft"}, finals)
        if d.measure == "pass@1" and d.test_set == TEST_SETS["own:known"]
    }
    assert found.keys() == set(pairs[:2])
    assert (found[pairs[0]].seeds, found[pairs[0]].problems) == (2, 2)
    assert found[pairs[0]].difference.value == pytest.approx(0.25)
    assert found[pairs[1]].difference.value == pytest.approx(0.125)
    assert common_seeds(finals, "rlkd", "sft", "own:known") == ({}, {})


def test_completions_are_drawn_once_and_scored_on_their_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = {name: Generator(3, SMALL).draw(2, (3,)) for name in TEST_SETS}
    drawn_of: list[Path] = []

    def draw(folder: Path, texts: list[str], sampling: Sampling) -> list[list[Completion]]:
        drawn_of.append(folder)
        paths = {problem.text: problem.path for problem in sets["own:known"]}
        right, cut = Completion(paths[texts[0]], False), Completion("Buying", True)
        return [[right] * sampling.samples, [cut] * sampling.samples]

    monkeypatch.setattr("examples.miniature.snapshots.draw", draw)
    samples = Samples(tmp_path, sets)
    middle, end = snapshots_of("rlkd", 1, {50: tmp_path / "end", 25: tmp_path / "middle"})
    assert (middle.step, end.step, middle.is_final, end.is_final) == (25, 50, False, True)
    while todo := samples.missing([middle, end]):
        draw_into(samples.drawing(*todo[0]))
    assert len(drawn_of) == 2 * len(TEST_SETS)
    one, other = samples.scored(end, "own:known")
    assert len(one) == 8 and all(s.right and s.reward == 1 and s.depth == 3 for s in one)
    assert all(not s.right and s.cut_off for s in other)


def test_figure_5_has_the_arms_and_the_teacher_s_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    async def embed(model: Path, texts: list[str]) -> dict[str, list[float]]:
        return {text: [1.0, float(len(text))] for text in texts}

    monkeypatch.setattr(figures, "minilm", lambda: Path("minilm"))
    monkeypatch.setattr(figures, "_embed", embed)
    problems = [p for p in Generator(3, SMALL).draw(60, (3,)) if p.other_plans()]
    found = figures.diversities({"rlkd": arm(1, right=4), "warmed": arm(0, right=1)}, problems)
    assert found.keys() == {"warmed", "rlkd", "teacher"}
    assert found["rlkd"].samples == 8 and len(found["rlkd"].steps) == 2
    assert found["rlkd"].steps[0].cosine == pytest.approx(1)
    assert found["teacher"].questions == len(problems)
    assert found["teacher"].steps[0].cosine < 1


def test_a_snapshot_on_the_way_is_measured_on_fewer_problems(tmp_path: Path) -> None:
    problems = Generator(3, SMALL).draw(120, (3,))
    samples = Samples(tmp_path, dict.fromkeys(TEST_SETS, problems))
    last, before = (Snapshot("rlkd", 1, 25, tmp_path, is_final) for is_final in (True, False))
    assert len(samples.problems("own:known", last)) == 120
    assert len(samples.problems("own:known", before)) == 100
