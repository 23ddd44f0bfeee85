"""`rlkd curves`: from ms-swift's log to table, summary and chart."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.run_chart import draw
from rlkd_plugin.rlkd_eval.run_curves import sample_evenly, show, summary
from rlkd_plugin.rlkd_eval.run_log import (
    LOG,
    StepRecord,
    grpo_steps,
    log_entries,
    read_run,
    reward_names,
    run_folder,
)
from rlkd_plugin.rlkd_eval.run_rewards import read_rewards
from tests.support.completion_tables import table, write_tables
from tests.support.report_folders import trace_line, write_lines

PNG = b"\x89PNG\r\n\x1a\n"


def entry(step: int, **changed: object) -> str:
    """Return a line as ms-swift logs it for a step; None takes a key out."""
    values = {
        "loss": 0.1,
        "reward": 0.5 * step,
        "frac_reward_zero_std": 0.25,
        "rewards/MathAccuracy/mean": 0.125,
        "step_time": 10.0,
        "rlkd/structure_reward": 0.25 * step,
        "rlkd/matched_depth": 1.0,
        "global_step/max_steps": f"{step}/4",
        **changed,
    }
    return json.dumps({key: value for key, value in values.items() if value is not None})


END = json.dumps({"train_runtime": 62.5, "global_step/max_steps": "4/4"})


def write_log(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "logging.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def parse(folder: Path, *lines: str) -> tuple[list[StepRecord], list[str]]:
    """Write a log, and return its steps and all remarks."""
    entries, broken = log_entries(write_log(folder, *lines) / LOG)
    steps, missing = grpo_steps(entries)
    return steps, [*broken, *missing]


def shown(folder: Path) -> str:
    """Return what `rlkd curves` prints, in words."""
    console = Console(width=80, markup=False, highlight=False, record=True, quiet=False)
    with console.capture() as capture:
        show(folder, console)
    return capture.get()


def test_a_step_is_read_from_the_log(tmp_path: Path) -> None:
    (record,), remarks = parse(tmp_path, entry(3), END)
    assert (record.step, record.reward, record.structure) == (3, 1.5, 0.75)
    assert (record.depth, record.accuracy, record.seconds) == (1.0, 0.125, 10.0)
    assert record.spread == 0.75  # 1 - 0.25
    assert remarks == []


def test_a_resumed_run_counts_a_step_as_logged_last(tmp_path: Path) -> None:
    lines = [entry(1), entry(2, reward=9.0), entry(3), entry(2, reward=7.0)]
    steps, _ = parse(tmp_path, *lines)
    assert [(s.step, s.reward) for s in steps] == [(1, 0.5), (2, 7.0), (3, 1.5)]


def test_half_a_last_line_is_skipped_and_said(tmp_path: Path) -> None:
    steps, remarks = parse(tmp_path, entry(1), entry(2), entry(3)[:40])
    assert [s.step for s in steps] == [1, 2]
    assert remarks == ["not whole JSON, skipped: line 3"]


def test_a_byte_that_is_no_text_loses_no_step(tmp_path: Path) -> None:
    """Nor does a name with a line separator of Unicode."""
    log = tmp_path / LOG
    log.write_bytes(entry(1, name="\u2028").encode() + b"\n" + entry(2, name="?").encode() + b"\n")
    log.write_bytes(log.read_bytes().replace(b"?", b"\xff"))
    steps, _ = grpo_steps(log_entries(log)[0])
    assert [s.step for s in steps] == [1, 2]


def test_a_value_that_is_never_logged_is_said(tmp_path: Path) -> None:
    missing = {"rlkd/structure_reward": None, "rlkd/matched_depth": None, "step_time": None}
    steps, remarks = parse(tmp_path, entry(1, **missing))
    assert (steps[0].structure, steps[0].depth, steps[0].seconds) == (None, None, None)
    assert remarks == [
        "the log has no rlkd/structure_reward (add `--callbacks rlkd_metrics`)",
        "the log has no rlkd/matched_depth (add `--callbacks rlkd_metrics`)",
        "the log has no step_time",
    ]


def test_no_number_is_no_value(tmp_path: Path) -> None:
    (record,), _ = parse(tmp_path, entry(1, reward=float("nan"), step_time="10s"))
    assert (record.reward, record.seconds) == (None, None)


def test_the_newest_run_of_an_output_dir_is_read(tmp_path: Path) -> None:
    for run in ("v0-20260101-100000", "v2-20260101-110000", "v10-20260101-120000"):
        write_log(tmp_path / run, entry(1))
    assert run_folder(tmp_path).name == "v10-20260101-120000"
    assert run_folder(tmp_path / "v2-20260101-110000").name == "v2-20260101-110000"


def test_a_newest_run_without_log_is_an_error_and_not_an_older_run(tmp_path: Path) -> None:
    write_log(tmp_path / "v0-20260101-100000", entry(1))
    (tmp_path / "v1-20260101-110000").mkdir()
    with pytest.raises(RlkdError, match="v1-20260101-110000, the newest run, has no logging"):
        run_folder(tmp_path)


def test_folders_without_a_run_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match="there is no folder"):
        read_run(tmp_path / "none")
    with pytest.raises(RlkdError, match="neither a logging"):
        read_run(tmp_path)
    for lines in ([], [END], ["{"], ["[1]", json.dumps({"loss": 1.0})]):
        with pytest.raises(RlkdError, match="no step with a reward"):
            read_run(write_log(tmp_path / "run", *lines))


def test_a_long_run_is_sampled_evenly_with_both_ends(tmp_path: Path) -> None:
    steps, _ = parse(tmp_path, *[entry(step) for step in range(1, 101)])
    assert [s.step for s in sample_evenly(steps, 20)][:3] == [1, 6, 11]  # 99 / 19 = 5.2 apart
    assert sample_evenly(steps, 20)[-1].step == 100
    assert len(sample_evenly(steps, 20)) == 20
    assert sample_evenly(steps[:20], 20) == steps[:20]


def test_the_summary_compares_beginning_and_end(tmp_path: Path) -> None:
    run = read_run(write_log(tmp_path, *[entry(step) for step in range(1, 7)]))
    # rewards 0.5, 1.0 ... 3.0: (0.5 + 1.0) / 2 and (2.5 + 3.0) / 2; structure is half of it
    assert summary(run) == (
        "6 steps in 60 s; mean of the first -> last 2 steps: total reward 0.750 -> 2.750, "
        "structure reward 0.375 -> 1.375, matched depth 1.000 -> 1.000, accuracy 0.125 -> 0.125"
    )


def test_table_summary_chart_and_trace_are_shown(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "run", entry(1), entry(2))
    (folder / "rlkd_trace_rank0.jsonl").touch()
    lines = shown(folder).splitlines()
    assert (
        "│    2 │      1.000 │      0.500 │      1.000 │    0.125 │     0.750 │    10.0 │" in lines
    )
    assert lines[-2] == f"chart: {folder / 'rlkd_curves.png'}"
    assert lines[-1] == f"trace: {folder / 'rlkd_trace_rank0.jsonl'}"
    assert (folder / "rlkd_curves.png").read_bytes().startswith(PNG)


def test_a_long_runs_table_says_that_it_is_sampled(tmp_path: Path) -> None:
    text = shown(write_log(tmp_path, *[entry(step) for step in range(1, 41)]))
    assert "20 of its 40 steps, evenly sampled" in text
    assert "│   40 │" in text


def test_the_chart_leaves_out_what_the_log_lacks(tmp_path: Path) -> None:
    missing = {"rlkd/structure_reward": None, "rlkd/matched_depth": None}
    run = read_run(write_log(tmp_path, entry(1, **missing), entry(2, **missing)))
    rewards, depth, accuracy = draw(run).axes
    assert [line.get_label() for line in rewards.lines] == ["total"]
    assert [text.get_text() for text in depth.texts] == ["not in the log"]
    assert list(accuracy.lines[0].get_ydata()) == [0.125, 0.125]


def rewarded_run(folder: Path, steps: int) -> Path:
    """Write a run of two rewards: in each step a group that each of them decides."""
    rewards = {"MathAccuracy": [0.0, 1.0, 1.0, 1.0], "RlkdGsrm": [0.5, 0.5, 0.25, 0.75]}
    both = {"rewards/RlkdGsrm/mean": 0.5, "rewards/RlkdGsrm/std": 0.1}
    write_log(folder, *[entry(step, **both) for step in range(1, steps + 1)])
    write_tables(folder, [table(step, rewards, 2) for step in range(1, steps + 1)], 2)
    lines = [
        trace_line(step, reward=reward, cut_off=reward == 0.25)
        for step in range(steps)
        for reward in rewards["RlkdGsrm"]
    ]
    write_lines(folder / "rlkd_trace_rank0.jsonl", lines)
    return folder


def test_the_names_of_rewards_are_read_from_the_log(tmp_path: Path) -> None:
    run = read_run(rewarded_run(tmp_path, 1))
    assert run.rewards == ("MathAccuracy", "RlkdGsrm")
    assert reward_names([{"eval_rewards/A/mean": 1.0, "rewards/B/std": 1.0}]) == ()


def test_the_rewards_shares_and_cut_offs_are_tables(tmp_path: Path) -> None:
    text = shown(rewarded_run(tmp_path, 3))
    lines = [line.strip("│ ") for line in text.splitlines()]
    cells = {tuple(line.replace(" ", "").split("│")) for line in lines}
    # each decides one of the two groups; 3 steps
    assert ("3", "50.0%", "50.0%", "2") in cells
    assert ("all", "50.0%", "50.0%", "6") in cells
    # a quarter of 12 is cut off: 3 accuracies of 1 and 3 rewards of 0.25; the other nine have
    # accuracies of 6 in all, and rewards of 3 * (0.5 + 0.5 + 0.75)
    assert ("MathAccuracy", "9", "0.667", "3", "1.000") in cells
    assert ("RlkdGsrm", "9", "0.583", "3", "0.250") in cells
    assert "note:" not in text


def test_a_long_runs_shares_are_pooled_by_windows(tmp_path: Path) -> None:
    rows = [
        line.split("│")[1].strip()
        for line in shown(rewarded_run(tmp_path, 23)).splitlines()
        if line.startswith("│")
    ]
    assert rows[-11:-2] == [*(f"{i} to {i + 2}" for i in range(1, 22, 3)), "22 to 23", "all"]


def test_shares_are_a_panel_of_the_chart(tmp_path: Path) -> None:
    run = read_run(rewarded_run(tmp_path, 2))
    rewards = read_rewards(run.folder, run.rewards, [1, 2], run.traces)
    *_, shares = draw(run, rewards).axes
    assert [line.get_label() for line in shares.lines] == ["MathAccuracy", "RlkdGsrm"]
    assert list(shares.lines[0].get_ydata()) == pytest.approx([0.5, 0.5], abs=1e-3)
    assert len(draw(run).axes) == 3


def test_what_is_not_known_of_rewards_is_a_note(tmp_path: Path) -> None:
    folder = rewarded_run(tmp_path, 2)
    (folder / "completions.jsonl").unlink()
    text = shown(folder)
    assert "note: which reward steers is not known: there is no completions.jsonl" in text
    assert "Where the reward comes from" not in text
    assert "structure reward │" in text  # by the traces alone


def test_the_command_shows_a_run(tmp_path: Path) -> None:
    write_log(tmp_path / "v0-20260101-100000", entry(1))
    result = CliRunner().invoke(app, ["curves", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 step in 10 s; first -> last step: total reward 0.500 -> 0.500" in result.stdout
    assert (tmp_path / "v0-20260101-100000" / "rlkd_curves.png").exists()


def test_the_command_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["curves", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert result.stderr == f"rlkd: there is no folder {tmp_path / 'none'}\n"
