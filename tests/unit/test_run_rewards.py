"""From a run's completions, options and traces to its rewards: shares, cut-offs, remarks."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.rlkd_eval.cut_off_rewards import OF_TRACES, Ends, Mean
from rlkd_plugin.rlkd_eval.run_rewards import RunRewards, read_rewards
from tests.support.completion_tables import table, write_tables
from tests.support.report_folders import trace_line, write_lines

NAMES = ("Accuracy", "Structure")
REWARDS = {"Accuracy": [1.0, 1.0, 0.0, 1.0], "Structure": [0.5, 2.5, 1.0, 1.0]}
"""Two groups of two: only the structure differs in the first, only the accuracy in the second."""


def read(folder: Path, *steps: int, names: tuple[str, ...] = NAMES) -> RunRewards:
    return read_rewards(folder, names, steps or (1, 2, 3), sorted(folder.glob("rlkd_trace*")))


def write_trace(
    folder: Path, rewards: list[float | None], step: int = 0, rank: int = 0, **changed: Any
) -> None:
    """Append a step's lines to the trace of a rank: every second completion was cut off."""
    file = folder / f"rlkd_trace_rank{rank}.jsonl"
    before = file.read_text().splitlines() if file.is_file() else []
    lines = [
        trace_line(step, reward=reward, cut_off=place % 2 == 1, **changed)
        for place, reward in enumerate(rewards)
    ]
    write_lines(file, [*before, *lines])


def test_shares_are_those_of_the_steps_and_of_all(tmp_path: Path) -> None:
    rising = {"Accuracy": [0.0] * 4, "Structure": [0.0, 1.0, 2.0, 2.0]}
    write_tables(tmp_path, [table(1, REWARDS, 2), table(2, rising, 2)], 2)
    rewards = read(tmp_path)
    assert rewards.weights == {"Accuracy": 1, "Structure": 1}
    first, second = rewards.spreads.values()
    assert (first.groups, second.groups) == (2, 1)  # a group of the second step is flat
    assert first.shares == pytest.approx({"Accuracy": 0.5, "Structure": 0.5}, abs=1e-3)
    assert second.shares == pytest.approx({"Accuracy": 0, "Structure": 1})
    assert rewards.overall is not None
    # of three groups the accuracy is one
    assert rewards.overall.shares["Accuracy"] == pytest.approx(1 / 3, abs=1e-3)


def test_weights_are_the_runs_in_the_order_of_the_table(tmp_path: Path) -> None:
    advantages = [-1.0, 1.0, -1.0, 1.0]
    write_tables(
        tmp_path, [table(1, REWARDS, 2, advantages=advantages)], 2, reward_weights=[15, 10]
    )
    # the log's order may be another one, where a reward came up late
    rewards = read(tmp_path, names=("Structure", "Accuracy"))
    assert rewards.weights == {"Accuracy": 15, "Structure": 10}


def test_further_columns_are_no_rewards(tmp_path: Path) -> None:
    more = {"num_turns": [1] * 4, "rlkd/matched_depth": [3] * 4}
    write_tables(tmp_path, [table(1, REWARDS, 2, **more)], 2)
    assert list(read(tmp_path).spreads[1].parts) == ["Accuracy", "Structure"]


def test_gdpo_is_read_from_the_options(tmp_path: Path) -> None:
    ranges = {"Accuracy": [0.0, 1.0, 0.0, 1.0], "Structure": [0.0, 0.0, 10.0, 10.0]}
    tables = [table(1, ranges, 4, advantages=[-1.0, 0.0, 0.0, 1.0])]
    write_tables(tmp_path, tables, 4, scale_rewards="gdpo")
    assert read(tmp_path).spreads[1].shares == pytest.approx({"Accuracy": 0.5, "Structure": 0.5})
    # an estimator beside which ms-swift normalises no reward
    of_sums = {"scale_rewards": "gdpo", "advantage_estimator": "reinforce_plus_plus"}
    write_tables(tmp_path, [table(1, ranges, 4)], 4, **of_sums)
    assert read(tmp_path).spreads[1].shares["Structure"] == pytest.approx(100 / 101)


def test_only_a_training_steps_own_table_counts(tmp_path: Path) -> None:
    """Not those of an evaluation, of the end, and of completions that are used again."""
    flat = {name: [1.0] * 4 for name in NAMES}
    first, second = table(1, REWARDS, 2), table(2, REWARDS, 2)
    again = second | {"step": ["3"] * 4}
    tables = [table(0, flat, 2), first, table(1, flat, 2), second, again, again]
    write_tables(tmp_path, tables, 2)
    assert list(read(tmp_path).spreads) == [1, 2]
    assert [s.groups for s in read(tmp_path).spreads.values()] == [2, 2]


def test_a_resumed_run_counts_a_step_as_done_last(tmp_path: Path) -> None:
    rising = {"Accuracy": [0.0] * 4, "Structure": [0.0, 1.0, 2.0, 3.0]}
    tables = [table(1, REWARDS, 2), table(2, REWARDS, 2), table(3, REWARDS, 2), table(2, rising, 2)]
    write_tables(tmp_path, tables, 2)
    rewards = read(tmp_path)
    assert list(rewards.spreads) == [1, 2, 3]
    assert rewards.spreads[2].shares["Accuracy"] == 0


def test_a_run_without_completions_says_so(tmp_path: Path) -> None:
    lacking = (
        "which reward steers is not known: there is no completions.jsonl "
        "(`log_completions: true` writes it)"
    )
    assert read(tmp_path) == RunRewards(remarks=[lacking])
    assert read(tmp_path, names=("Accuracy",)) == RunRewards(remarks=[])  # it has no share to show


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"reward_weights": [1.0]},
            "args.json has the reward_weights [1.0], the log has the rewards Accuracy, Structure",
        ),
        ({"num_generations": None}, "there is no num_generations in args.json"),
    ],
)
def test_unknown_weights_leave_the_shares_out_and_say_why(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2)], 2, **options)
    write_trace(tmp_path, [0.5, 2.5, 1.0, 1.0])
    rewards = read(tmp_path)
    assert (rewards.overall, rewards.weights) == (None, {})
    assert rewards.remarks == [f"which reward steers is not known: {said}"]
    assert rewards.ends.keys() == set(NAMES)


def test_broken_options_are_a_remark(tmp_path: Path) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2)], 2)
    (tmp_path / "args.json").write_text("{")
    assert read(tmp_path).remarks[0].startswith("which reward steers is not known: ")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 1: broken JSON"),
        (json.dumps({"gen_step": 0, "reward": 1.0}), "line 1: no table of a step: its column step"),
        (json.dumps(table(1, {"Accuracy": [1.0] * 4}, 2)), "line 1: there is no column Structure"),
        (
            json.dumps(table(1, REWARDS, 2, advantages=[1.0])),
            "line 1: its columns differ in length",
        ),
        (
            json.dumps(table(1, REWARDS, 2, advantages=["x"] * 4)),
            "line 1: an advantage is not a finite num",
        ),
        (json.dumps(table(1, REWARDS, 4)), "step 1: its 4 completions do not form groups of 3"),
        (
            json.dumps(table(1, REWARDS, 2, prompt=["a", "b", "a", "b"])),
            "step 1: its 4 completions do not form groups of 2",
        ),
    ],
)
def test_what_is_no_table_of_groups_is_counted(tmp_path: Path, bad: str, said: str) -> None:
    size = 3 if "groups of 3" in said else 2
    three = {name: column[:3] for name, column in REWARDS.items()}
    good = table(2, three, 3) if size == 3 else table(2, REWARDS, 2)
    write_tables(tmp_path, [bad, good], size)
    rewards = read(tmp_path)
    assert list(rewards.spreads) == [2]
    assert rewards.remarks[0].startswith(f"tables of completions.jsonl, skipped: 1; {said}")


def test_an_empty_table_is_skipped_in_silence(tmp_path: Path) -> None:
    empty: dict[str, list[Any]] = {name: [] for name in table(1, REWARDS, 2)}
    write_tables(tmp_path, [empty, table(1, REWARDS, 2)], 2)
    write_trace(tmp_path, [0.5, 2.5, 1.0, 1.0])
    rewards = read(tmp_path)
    assert (list(rewards.spreads), rewards.remarks) == ([1], [])


def test_advantages_of_another_source_are_counted(tmp_path: Path) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2, advantages=[1.0, -1.0, -1.0, 1.0])], 2)
    rewards = read(tmp_path)
    assert rewards.spreads[1].groups == 1
    assert rewards.remarks[0] == (
        "groups whose advantages do not come from the weighted rewards alone (kl_in_reward, for "
        "example), skipped: 1 of 2"
    )


# --- whole and cut-off completions


def test_rewards_of_whole_and_cut_off_completions(tmp_path: Path) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2), table(2, REWARDS, 2)], 2)
    for step in (0, 1):
        write_trace(tmp_path, [0.5, 2.5, 1.0, 1.0], step)
    rewards = read(tmp_path)
    assert rewards.remarks == []
    # of a step the first and third are whole: accuracies 1, 0 and 1, 1; structures 0.5, 1 and
    # 2.5, 1
    assert rewards.ends == {
        "Accuracy": Ends(Mean(4, 2.0), Mean(4, 4.0)),
        "Structure": Ends(Mean(4, 3.0), Mean(4, 7.0)),
    }
    assert rewards.ends["Structure"].whole.value == 0.75
    assert Mean().value is None


def test_ranks_stand_one_after_the_other(tmp_path: Path) -> None:
    rewards = {"Accuracy": [1.0] * 22, "Structure": [float(i) for i in range(22)]}
    write_tables(tmp_path, [table(1, rewards, 2)], 2)
    for rank in range(11):  # the name of rank 10 sorts before that of rank 2
        write_trace(tmp_path, [2.0 * rank, 2.0 * rank + 1], rank=rank)
    # 0 + 2 + ... + 20, and 11 more
    assert read(tmp_path).ends["Structure"] == Ends(Mean(11, 110.0), Mean(11, 121.0))


def test_a_steps_last_lines_are_those_of_its_table(tmp_path: Path) -> None:
    """Before them stand an evaluation, or a try at the step that a kill ended."""
    write_tables(tmp_path, [table(1, REWARDS, 2)], 2)
    write_trace(tmp_path, [9.0, 9.0])
    write_trace(tmp_path, [0.5, 2.5, 1.0, 1.0])
    assert read(tmp_path).ends["Structure"] == Ends(Mean(2, 1.5), Mean(2, 3.5))


def test_a_completion_without_a_reward_counts_in_no_mean_of_it(tmp_path: Path) -> None:
    lacking = {"Accuracy": [1.0, 0.0, 1.0, 1.0], "Structure": [None, None, 0.25, 0.75]}
    advantages = [1.0, -1.0, -1.0, 1.0]
    write_tables(tmp_path, [table(1, lacking, 2, advantages=advantages)], 2)
    write_trace(tmp_path, [None, None, 0.25, 0.75])
    rewards = read(tmp_path)
    assert rewards.ends["Structure"] == Ends(Mean(1, 0.25), Mean(1, 0.75))
    assert rewards.ends["Accuracy"] == Ends(Mean(2, 2.0), Mean(2, 1.0))
    assert rewards.spreads[1].shares == pytest.approx({"Accuracy": 0.5, "Structure": 0.5})


def test_a_table_that_the_trace_does_not_match_is_not_guessed_at(tmp_path: Path) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2), table(2, REWARDS, 2)], 2)
    write_trace(tmp_path, [0.5, 2.5, 1.0, 1.0])
    write_trace(tmp_path, [2.5, 0.5, 1.0, 1.0], step=1)
    rewards = read(tmp_path)
    assert rewards.ends["Structure"] == Ends(Mean(2, 1.5), Mean(2, 3.5))
    assert rewards.remarks == [
        "steps whose cut-off completions are not known: 1 of 2; the traces have other rewards"
    ]


def test_traces_alone_tell_of_their_own_reward(tmp_path: Path) -> None:
    write_trace(tmp_path, [0.5, 2.5, None, None], 0)
    write_lines(tmp_path / "rlkd_trace_rank1.jsonl", ["{", trace_line(4, reward=1.5)])
    rewards = read(tmp_path, names=("Accuracy",))
    assert rewards.ends == {OF_TRACES: Ends(Mean(2, 2.0), Mean(1, 2.5))}
    write_tables(tmp_path, [table(1, REWARDS, 2)], 2)
    assert read(tmp_path).ends == rewards.ends  # two ranks of two, one of which is not there


def test_a_run_without_traces_says_so(tmp_path: Path) -> None:
    write_tables(tmp_path, [table(1, REWARDS, 2)], 2)
    assert (read(tmp_path).ends, read(tmp_path).remarks) == (
        {},
        ["steps whose cut-off completions are not known: 1 of 1; there is no trace"],
    )
