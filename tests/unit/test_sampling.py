"""The structure reward as ms-swift's sampler asks for it: ranking, what is kept, and the file."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from swift.infer_engine import InferRequest
from swift.rewards import prms

from rlkd_plugin.engines.trace import read_rows, replay
from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.swift_hooks.registry import register_all
from rlkd_plugin.swift_hooks.rewards import sampling_reward
from rlkd_plugin.swift_hooks.rewards.sampling_reward import FILE
from tests.conftest import SetOptions
from tests.support.loopback import Loopback, said, status, verdict
from tools.stand_ins.sampler import make_candidates, run_sampler

PATHS = {
    "How much does he earn?": (
        "He works 5 * 8 = 40 hours a week.\nThat brings him 40 * 12 = 480 dollars.\n"
        "After a tax of 80 dollars he keeps 480 - 80 = 400 dollars.\n#### 400"
    ),
    "How many plums are left?": (
        "From 6 trees she picks 6 * 9 = 54 plums.\nHer brother eats 54 / 3 = 18 of them.\n"
        "So 54 - 18 = 36 stay in the basket.\nThe birds take four more, 36 - 4 = 32."
    ),
    "How far is it?": (
        "Uphill she goes 3 km/hour * 2 hours = 6 km.\nDownhill it is 6 km/hour * 2 hours = 12 km.\n"
        "Altogether that makes 6 + 12 = 18 km."
    ),
}


@pytest.fixture(autouse=True)
def rules(options: SetOptions, tmp_path: Path) -> None:
    """The rules engine, and a folder for the scores."""
    options(engine="rules", trace_dir=str(tmp_path))


def rows() -> list[dict[str, Any]]:
    """What ms-swift's sampler has after it generated: the data set's turns and the choices."""
    return [
        {
            "messages": [
                {"role": "system", "content": "Solve it."},
                {"role": "user", "content": problem},
                {"role": "assistant", "content": path},
            ],
            "choices": make_candidates(path),
        }
        for problem, path in PATHS.items()
    ]


def scored(problem: str, truth: str, *texts: str) -> list[float]:
    """Call the PRM as ms-swift does: the ground truth comes last."""
    register_all()
    turns = [{"role": "user", "content": problem}]
    requests = [
        InferRequest([*turns, {"role": "assistant", "content": text}]) for text in (*texts, truth)
    ]
    return prms["rlkd_gsrm"]()(requests, request_config=None, ground_truths=[truth] * len(requests))


def test_ms_swift_ranks_the_candidates_in_the_right_order(tmp_path: Path) -> None:
    """The teacher's path, a wrong end, another second step, another first step."""
    kept = run_sampler(rows(), n_best_to_keep=4)
    traced = list(read_rows(tmp_path / FILE))
    assert len(traced) == 5 * len(PATHS)
    for number, (problem, path) in enumerate(PATHS.items()):
        lines = traced[5 * number : 5 * number + 5]
        scores = [line.reward for line in lines]
        assert all(one > other for one, other in pairwise(scores[:4]))
        assert scores[4] == scores[0]  # the ground truth itself
        assert [line.problem for line in lines] == [problem] * 5
        assert [line.is_ground_truth for line in lines] == [False, False, False, False, True]
        assert [replay(line).total for line in lines] == scores
        offered = make_candidates(path)
        mine = [row for row in kept if row["messages"][1]["content"] == problem]
        order = [row["messages"][-1]["content"].rstrip() for row in mine]
        assert order == [path, *offered[:3]]  # a score of 0 is masked
        assert {row["rejected_response"] for row in mine} == {offered[3]}
        assert all("choices" not in row for row in mine)


def test_it_works_beside_an_outcome_reward() -> None:
    """ms-swift's own `math`: the candidates with a right end come before the others."""
    truth = "First 2 * 3 = 6. Then 6 + 1 = 7. Last 7 + 5 = 12, so \\boxed{12}"
    wrong = truth.replace("12", "13")
    other = "Umbrellas for guests 7 + 8 = 15. Last 7 + 5 = 12, so \\boxed{12}"
    turns = ("user", "How many?"), ("assistant", truth)
    messages = [{"role": role, "content": content} for role, content in turns]
    kept = run_sampler(
        [{"messages": messages, "choices": [wrong, truth, other]}],
        orm_model="math",
        n_best_to_keep=3,
    )
    assert [row["messages"][-1]["content"] for row in kept][:2] == [truth, truth]
    assert {row["rejected_response"] for row in kept} == {wrong}


@pytest.mark.parametrize(("branches", "is_said"), [(1, False), (4, True)])
def test_that_branches_have_no_effect_is_said(
    branches: int, is_said: bool, options: SetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(sampling_reward.logger, "warning", warnings.append)
    options(branches=branches)
    scored("How many?", "2 + 2 = 4.", "2 + 2 = 4.")
    assert any("RLKD_BRANCHES=4 has no effect" in warning for warning in warnings) == is_said


def test_no_score_is_ever_not_a_number(options: SetOptions) -> None:
    """Neither without reasoning on either side, nor for texts of any kind."""
    texts = ["", " ", "...", "\ud800", "<think>", "2 + 2 = 4.", "[Answer 1]: 5"]
    for truth in ("2 + 2 = 4.", "...", "", "</think>"):
        scores = scored("How many?", truth, *texts)
        assert len(scores) == len(texts) + 1
        assert all(isinstance(score, float) and math.isfinite(score) for score in scores)
    assert set(scored("How many?", "...", "2 + 2 = 4.")) == {0.0}
    options(reward_scale="teacher")
    assert max(scored("How many?", "2 + 2 = 4.\n4 + 4 = 8.", "2 + 2 = 4.")) == 1.0


def test_thinking_of_the_data_set_is_the_teachers_path() -> None:
    path = "<think>We add 2 + 3 = 5 pens.</think>\nSo 5."
    assert scored("How many pens?", path, "We add 2 + 3 = 5 pens.") == [1.0, 1.0]


def test_a_row_without_a_problem_is_an_error() -> None:
    register_all()
    requests = [InferRequest([{"role": "assistant", "content": "2 + 2 = 4."}])]
    with pytest.raises(RlkdError, match="needs a user message"):
        prms["rlkd_gsrm"]()(requests, ground_truths=["2 + 2 = 4."])


def test_with_servers_the_teacher_is_decomposed_once(
    loopback: Loopback, options: SetOptions
) -> None:
    """And the ground truth, which is scored too, costs nothing more."""
    options(
        engine="server",
        gsrm_base_url=loopback.url,
        gsrm_model="gsrm-7b",
        judge_base_url=loopback.url,
        judge_model="judge-32b",
        sample_domain="code",
    )
    structure = "[Meta-reasoning 1]: {}\n[Sub-problem 1]: q\n[Answer 1]: 5"
    loopback.always("gsrm", said(structure.format("plan")))
    loopback.always("judge", verdict(0.9))
    assert scored("How many?", "We add 2 + 3.", "I count.", "I guess.") == [1.0, 1.0, 1.0]
    asked = [a for a in loopback.asked if a.role == "gsrm" and "⟦" in a.prompt]
    paths = [a.content("reasoning path") for a in asked]
    assert sorted(paths) == ["I count.", "I guess.", "We add 2 + 3."]
    loopback.always("gsrm", status(401))
    with pytest.raises(EndpointError, match="401"):
        scored("How many?", "We add 3 + 3.", "I count.")


@pytest.mark.parametrize("content", [None, 5, [{"type": "text", "text": "2 + 2 = 4."}]])
@pytest.mark.parametrize("place", ["candidate", "problem", "truth"])
def test_a_content_that_is_no_text_is_named(place: str, content: Any) -> None:
    register_all()
    texts = {"problem": "How many?", "candidate": "2 + 2 = 4.", "truth": "2 + 2 = 4."}
    texts[place] = content
    turns = ("user", texts["problem"]), ("assistant", texts["candidate"])
    requests = [InferRequest([{"role": role, "content": text} for role, text in turns])]
    named = {"truth": "the teacher's path"}.get(place, f"the {place}")
    with pytest.raises(RlkdError, match=f"{named}.* needs a text .* row 0"):
        prms["rlkd_gsrm"]()(requests, ground_truths=[texts["truth"]])


def served(loopback: Loopback, options: SetOptions) -> None:
    """Name the scripted server as GSRM and judge."""
    options(engine="server", gsrm_base_url=loopback.url, gsrm_model="gsrm-7b")
    options(judge_base_url=loopback.url, judge_model="judge-32b")


def test_a_broken_gsrm_ends_the_sampling_after_some_problems(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    """It would keep nothing, problem by problem; a few odd candidates are none."""
    served(loopback, options)
    register_all()
    reward = prms["rlkd_gsrm"]()
    loopback.always("gsrm", said("Certainly!"))

    def score(problem: int) -> list[float]:
        texts = [f"{problem} times {n}" for n in range(8)]
        turns = [{"role": "user", "content": f"Problem {problem}"}]
        requests = [InferRequest([*turns, {"role": "assistant", "content": t}]) for t in texts]
        return reward(requests, ground_truths=[texts[-1]] * 8)

    for problem in range(3):
        assert score(problem) == [0.0] * 8
    with pytest.raises(EndpointError, match=r"32 of the last 32 students.*'Certainly!'"):
        score(4)
    assert len(list(read_rows(tmp_path / FILE))) == 32


def test_a_file_of_scores_that_cannot_be_written_is_refused_at_the_start(
    options: SetOptions, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    options(trace_dir=tmp_path / "taken")
    register_all()
    with pytest.raises(RlkdError, match=f"{FILE} cannot be written.*RLKD_TRACE_DIR"):
        prms["rlkd_gsrm"]()


def test_a_full_disk_costs_lines_and_not_the_sampling(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to("/dev/full")
    assert scored("How many?", "2 + 2 = 4.", "2 + 2 = 4.") == [1.0, 1.0]
