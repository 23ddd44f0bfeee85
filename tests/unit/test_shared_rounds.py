"""The run's counts, shared by ranks through the store of their process group."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.round_counts import RoundCounts, count_questions
from rlkd_plugin.engines.run_window import OwnRounds
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.engines.teachers import TeacherRecord
from rlkd_plugin.swift_hooks.rewards import shared_rounds
from rlkd_plugin.swift_hooks.rewards.shared_rounds import SharedRounds, rounds_of_next_reward
from tests.support import ranks_that_score

ROOT = Path(__file__).resolve().parents[2]
Outcomes = dict[str, list[tuple[int, str]]]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """What two real ranks tell."""
    from rlkd_plugin.llm_io.ports import free_port

    start = [sys.executable, "-m", ranks_that_score.__name__]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            start,
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "RLKD_ENGINE": "rules"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return json.loads(printed[0].splitlines()[-1])


def test_one_unlucky_rank_does_not_end_the_run(outcomes: Outcomes) -> None:
    """8% of its own texts, 4% of the run's."""
    assert outcomes["one unlucky rank"] == [[0, ""], [0, ""]]


@pytest.mark.parametrize("story", ["a bad run", "a bad run, the other way round"])
def test_a_rank_that_sees_few_ends_with_the_one_that_sees_many(
    outcomes: Outcomes, story: str
) -> None:
    """Who completes the first round sees it whole; the other one does too, or a batch later."""
    (one, why), (other, why_other) = outcomes[story]
    assert min(one, other) == 1 and max(one, other) <= 2
    # 42 of 200 texts and a teacher a rank; of the verdicts each rank's own 3 questions a path
    (first,) = {why for ended, why in outcomes[story] if ended == 1}  # the same for both
    assert "42 of the last " in first
    for sentence in (why, why_other):
        assert "rejected by rank" in sentence and "more than 5%" in sentence


def test_a_rank_that_alone_scores_waits_for_nobody(outcomes: Outcomes) -> None:
    """Its first round is judged at its second batch."""
    silent, (ended, why) = outcomes["only the last rank scores"]
    assert silent == [0, ""]
    assert ended == 2 and "40 of the last" in why


def of_rank(store: dist.Store, ranks: int = 2) -> SharedRounds:
    return SharedRounds(dist.PrefixStore("rlkd/0", store), ranks)


def test_a_round_is_whole_when_all_ranks_have_counted() -> None:
    store = dist.HashStore()
    one, other = of_rank(store), of_rank(store)
    one.add(0, RoundCounts(8, 2, refusals=("a",)))
    assert one.read(0) == (RoundCounts(8, 2, refusals=("a",)), False)
    other.add(0, RoundCounts(9, 1, refusals=("b",)))
    for rank in (one, other):
        assert rank.read(0) == (RoundCounts(17, 3, refusals=("a", "b")), True)


def test_examples_of_any_text_can_be_shared() -> None:
    """Half a surrogate pair, as a model's reply may hold, is no text that a store can keep."""
    odd = "so \ud800 \0 \u2028 \n \u05d0" * 200
    failed = Decomposition(None, "undecomposable", reply=odd)
    refused = Decomposition(None, "refused", reply=odd)
    none = Decomposition(None, "undecomposable", asked=False)
    samples = [Sample("", odd, "math", odd, odd), Sample("", odd, "math", "", odd)]
    scores = [Score(failed, failed), Score(none, refused)]
    counts = count_questions(scores) + TeacherRecord().count(samples, scores)
    assert counts.replies and counts.refusals and len(counts.teachers) == 2
    rounds = of_rank(dist.HashStore(), ranks=1)
    rounds.add(0, counts)
    assert rounds.read(0) == (counts, True)


def test_old_rounds_leave_the_store() -> None:
    store = dist.HashStore()
    ranks = of_rank(store), of_rank(store)
    for number in range(50):
        for rank in ranks:
            rank.add(number, RoundCounts(1))
        for rank in ranks:
            assert rank.read(number) == (RoundCounts(2), True)
    assert store.num_keys() <= 4
    # whoever comes late gets its own counts, and does not wait
    late = of_rank(store)
    late._own[3] = RoundCounts(5)
    assert late.read(3) == (RoundCounts(5), True)


class BrokenStore:
    """A store whose server is gone."""

    def append(self, key: str, value: str) -> None:
        raise dist.DistStoreError("Broken pipe\nand a long trace")


def test_without_the_store_a_rank_judges_by_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so once."""
    said: list[str] = []
    monkeypatch.setattr(shared_rounds.logger, "warning", said.append)
    rounds = SharedRounds(BrokenStore(), 2)
    for number in range(3):
        rounds.add(number, RoundCounts(number))
        assert rounds.read(number) == (RoundCounts(number), True)
    assert len(said) == 1 and "(Broken pipe)" in said[0]


def test_without_a_process_group_a_rank_has_its_own() -> None:
    assert isinstance(rounds_of_next_reward()(), OwnRounds)
