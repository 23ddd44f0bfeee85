"""Checks the trace: what is written can be read, and gives every reward back."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.trace import (
    Side,
    TraceRow,
    VerdictRow,
    append_rows,
    parse_row,
    read_rows,
    replay,
    trace_row,
)
from rlkd_plugin.gsrm import (
    Field,
    FormatError,
    Question,
    Step,
    Structure,
    StructuredReward,
)

OK = Decomposition(Structure((Step("m", "q", "a"),), "a"))
UNDECOMPOSABLE = Decomposition(None, "undecomposable")
PATH = (
    "Find the price of 3 apples: 3 * 2 = 6 dollars.\n"
    "Add the price of the bread: 6 + 4 = 10 dollars.\n"
    "Take it from the money: 20 - 10 = 10 dollars."
)


class CoinEngine(RulesEngine):
    """The rules engine with a coin for a judge."""

    name = "coin"

    def __init__(self, seed: int) -> None:
        self.usage = Usage()
        self.coin = random.Random(seed)

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        return Verdict(self.coin.random() < 0.8, "logprob", 0.5)


def scores(seed: int) -> list[Score]:
    lines = PATH.split("\n")
    completions = [PATH, lines[0], "\n".join(lines[:2]), "", "...", PATH.replace("price", "cost")]
    samples = [Sample(c, "How many?", "math", PATH.upper()) for c in completions]
    return asyncio.run(score_batch(samples, CoinEngine(seed)))


def written(tmp_path: Path, *rows: TraceRow) -> list[TraceRow]:
    """Write rows to a trace, and read its lines."""
    append_rows(tmp_path / "trace.jsonl", rows)
    return list(read_rows(tmp_path / "trace.jsonl"))


def in_json(tmp_path: Path, row: TraceRow) -> dict[str, Any]:
    """Write a row to a trace, and read its line as any reader of JSON does."""
    append_rows(tmp_path / "trace.jsonl", [row])
    return json.loads((tmp_path / "trace.jsonl").read_text("utf-8"))


def step_row(step: int) -> TraceRow:
    return TraceRow(step=step, teacher=Side(), student=Side())


OLD = """\
{"version": 1, "step": 7, "prompt_id": "p", "request_id": "r", "cut_off": true, "teacher": \
{"status": "ok", "clipped": false, "steps": [["m", "q", "a"], ["n", "p", "b"]], \
"final_answer": "b"}, "student": {"status": "ok", "clipped": true, "steps": [["m", "q", "c"]], \
"final_answer": ""}, "verdicts": [{"number": 1, "field": "meta_reasoning", "matched": true, \
"probability": null, "source": "rule"}, {"number": 1, "field": "sub_problem", "matched": true, \
"probability": 0.75, "source": "logprob"}, {"number": 1, "field": "answer", "matched": false, \
"probability": 0.25, "source": "logprob"}], "step_scores": [0.5], "total": 0.5, "reward": 0.25}
"""
"""A line as it was written before lines had a class."""
OLD_OF_SAMPLER = """\
{"version": 1, "problem": "P", "completion": "C", "is_ground_truth": true, "teacher": \
{"status": "undecomposable", "clipped": false, "steps": [], "final_answer": ""}, "student": \
{"status": "ok", "clipped": false, "steps": [["m", "q", "a"]], "final_answer": "a"}, \
"verdicts": [], "step_scores": [], "total": 0.0, "reward": null}
"""


def test_old_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text(OLD + OLD_OF_SAMPLER, "utf-8")
    row, sampled = read_rows(tmp_path / "trace.jsonl")
    assert (row.version, row.step, row.prompt_id, row.request_id) == (1, 7, "p", "r")
    assert (row.cut_off, row.step_scores, row.total, row.reward) == (True, (0.5,), 0.5, 0.25)
    assert row.teacher == Side("ok", False, (("m", "q", "a"), ("n", "p", "b")), "b")
    assert row.student == Side("ok", True, (("m", "q", "c"),), "")
    assert row.verdicts[2] == VerdictRow(1, "answer", False, 0.25, "logprob")
    assert replay(row) == StructuredReward(0.5, (0.5,))  # one step; its answers differ
    assert (sampled.problem, sampled.completion, sampled.is_ground_truth) == ("P", "C", True)
    assert (sampled.step, sampled.reward, replay(sampled)) == (None, None, None)


def test_a_new_line_has_all_that_an_old_one_had(tmp_path: Path) -> None:
    """Same keys, same values: who read a trace by its keys still does."""
    for line in (OLD, OLD_OF_SAMPLER):
        row = parse_row(line.encode())
        assert row is not None
        (tmp_path / "trace.jsonl").unlink(missing_ok=True)
        again, old = in_json(tmp_path, row), json.loads(line)
        for side in ("teacher", "student"):
            again[side] = {key: again[side][key] for key in old[side]}
        assert {key: again[key] for key in old} == old


def test_a_row_shows_a_reply_that_is_no_structure(tmp_path: Path) -> None:
    student = Decomposition(None, "undecomposable", cut=True, reply="Let me think \ud800")
    (row,) = written(tmp_path, trace_row(Score(OK, student), 0.0))
    assert (row.student.reply, row.student.cut) == ("Let me think ?", True)


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_replays_to_its_rewards(seed: int, tmp_path: Path) -> None:
    batch = scores(seed)
    rows = written(tmp_path, *[trace_row(score, 0.0) for score in batch])
    assert [replay(row) for row in rows] == [score.reward for score in batch]
    assert [row.total for row in rows] == [
        score.reward.total if score.reward else 0.0 for score in batch
    ]


def test_the_batches_have_rewards_of_all_kinds() -> None:
    rewards = [score.reward for seed in range(20) for score in scores(seed)]
    assert None in rewards
    assert {0.0, 1.0, 3.0} < {reward.total for reward in rewards if reward}


def test_a_row_says_how_the_reward_came_about(tmp_path: Path) -> None:
    verdicts = [
        (Question(1, "meta_reasoning", "m", "sm"), Verdict(True, "logprob", 0.9)),
        (Question(1, "sub_problem", "q", "sq"), Verdict(False, "refused")),
        (Question(1, "answer", "a", "a"), Verdict(True, "rule")),
    ]
    steps = Structure((Step("sm", "sq", "a"), Step("x", "y", "z")))
    student = Decomposition(steps, clipped=True, cut=True)
    # one step: 1 * 0.5 for the sub-problem; over 1 step of the teacher
    score = Score(OK, student, StructuredReward(0.5, (0.5,)), verdicts)
    assert in_json(tmp_path, trace_row(score, 0.5, step=7, prompt_id="p7")) == {
        "version": 1,
        "step": 7,
        "prompt_id": "p7",
        "request_id": None,
        "cut_off": False,
        "problem": "",
        "completion": "",
        "is_ground_truth": False,
        "teacher": {
            "status": "ok",
            "clipped": False,
            "steps": [["m", "q", "a"]],
            "final_answer": "a",
            "cut": False,
            "reply": "",
            "stopped_early": False,
            "unfinished": [],
        },
        "student": {
            "status": "ok",
            "clipped": True,
            "steps": [["sm", "sq", "a"], ["x", "y", "z"]],
            "final_answer": "",
            "cut": True,
            "reply": "",
            "stopped_early": False,
            "unfinished": [],
        },
        "verdicts": [
            {
                "number": 1,
                "field": "meta_reasoning",
                "matched": True,
                "probability": 0.9,
                "source": "logprob",
            },
            {
                "number": 1,
                "field": "sub_problem",
                "matched": False,
                "probability": None,
                "source": "refused",
            },
            {
                "number": 1,
                "field": "answer",
                "matched": True,
                "probability": None,
                "source": "rule",
            },
        ],
        "step_scores": [0.5],
        "total": 0.5,
        "reward": 0.5,
        "beyond_teacher": False,
        "branch": 0,
        "branches": [],
    }


@pytest.mark.parametrize(
    "score",
    [
        Score(OK, UNDECOMPOSABLE),
        Score(UNDECOMPOSABLE, OK),
        Score(UNDECOMPOSABLE, UNDECOMPOSABLE),
    ],
)
def test_a_side_without_structure_replays_to_none(score: Score, tmp_path: Path) -> None:
    (row,) = written(tmp_path, trace_row(score, None))
    assert replay(row) is None
    assert (row.total, row.step_scores, row.verdicts) == (0.0, (), ())


def test_verdicts_in_another_order_are_an_error() -> None:
    (score, *_) = scores(0)
    row = trace_row(score, None)
    first = msgspec.structs.replace(row.verdicts[0], field="answer")
    with pytest.raises(ValueError, match="answer instead of meta_reasoning"):
        replay(msgspec.structs.replace(row, verdicts=(first, *row.verdicts[1:])))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("a\ud800b", "a?b", id="lone surrogate"),
        pytest.param("\udfff", "?", id="nothing but a surrogate"),
        pytest.param("\U0001f600 \u05d0", "\U0001f600 \u05d0", id="other scripts"),
        pytest.param("a\0b", "a\0b", id="NUL"),
        pytest.param("a\u2028b\nc\x85d", "a\u2028b\nc\x85d", id="line separators"),
    ],
)
def test_any_text_can_be_written(text: str, read: str, tmp_path: Path) -> None:
    student = Decomposition(Structure((Step(text, text, text),)))
    verdict = (Question(1, "meta_reasoning", "m", text), Verdict(False, "text"))
    score = Score(OK, student, StructuredReward(0.0, (0.0,)), [verdict])
    (row,) = written(tmp_path, trace_row(score, 0.0, request_id=text))
    assert row.student.steps == ((read, read, read),)
    assert row.request_id == read
    assert replay(row) == score.reward


def test_rows_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "a" / "folder" / "trace.jsonl"
    append_rows(file, [step_row(1), step_row(2)])
    append_rows(file, [step_row(3)])
    append_rows(file, [])
    assert [json.loads(line)["step"] for line in file.read_bytes().split(b"\n")[:-1]] == [1, 2, 3]


def test_half_a_line_of_a_killed_run_spoils_no_other(tmp_path: Path) -> None:
    """The run that goes on writes behind it; who reads gets every whole line."""
    trace = tmp_path / "trace.jsonl"
    append_rows(trace, [step_row(1), step_row(2)])
    with trace.open("ab") as file:
        file.write(b'{"step": 3, "teach')
    append_rows(trace, [step_row(3)])
    append_rows(trace, [step_row(4)])
    assert [row.step for row in read_rows(trace)] == [1, 2, 3, 4]


STOPPED = TraceRow(
    teacher=Side(steps=(("m", "q", "a"), ("n", "p", "b"))),
    student=Side(steps=(("sm", "sq", "sa"),), stopped_early=True, unfinished=("sn",)),
    verdicts=(
        VerdictRow(1, "meta_reasoning", True),
        VerdictRow(1, "sub_problem", True),
        VerdictRow(1, "answer", False),
        VerdictRow(2, "meta_reasoning", False),
    ),
)


def test_a_student_that_was_stopped_replays_to_its_reward(tmp_path: Path) -> None:
    (row,) = written(tmp_path, STOPPED)
    # 0.5 for the answer; the second step's meta-reasoning does not match
    assert replay(row) == StructuredReward(0.5, (0.5, 0.0))


def test_a_student_that_was_stopped_too_early_is_an_error() -> None:
    """Its last meta-reasoning matches, so its step was needed."""
    *others, last = STOPPED.verdicts
    matched = VerdictRow(last.number, last.field, True)
    with pytest.raises(FormatError, match="stopped before the walk of Algorithm 1 was over"):
        replay(msgspec.structs.replace(STOPPED, verdicts=(*others, matched)))
