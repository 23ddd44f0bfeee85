"""The samples of an evaluation, from the files that evalscope writes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.evalscope_run import run_evalscope
from rlkd_plugin.rlkd_eval.eval_samples import answer_part, keep_samples, repair, scores_of


def write_lines(file: Path, *rows: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def prediction(index: int, reply: str | list[dict[str, Any]], stop: str = "stop") -> dict[str, Any]:
    choice = {"message": {"content": reply}, "stop_reason": stop}
    return {"index": index, "model_output": {"choices": [choice]}}


def review(index: int, accuracy: float) -> dict[str, Any]:
    score = {"value": {"accuracy": accuracy}, "extracted_prediction": "2"}
    sample = {"group_id": 0, "generation_index": index, "score": score}
    return {"index": index, "target": "2", "sample_score": sample}


def test_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "predictions" / "model" / "math_500.jsonl",
        prediction(0, "2 \ud800"),
        prediction(1, "ü"),
    )
    write_lines(
        tmp_path / "reviews" / "model" / "math_500.jsonl",
        review(0, 1.0),
        review(1, 0.0),
    )
    file = tmp_path / "samples" / "math500.jsonl"
    keep_samples(tmp_path, file, 2)
    first, second = file.read_bytes().splitlines()
    assert json.loads(first)["response"] == "2 \ud800"
    assert '"response": "ü"' in second.decode("utf-8")
    assert scores_of(file).pass_at_1.value == 0.5


def test_half_a_line_that_a_kill_left_is_removed(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "predictions" / "model" / "math_500.jsonl", prediction(0, "2"))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"index": 1, "model_out')
    repair(tmp_path)
    assert file.read_bytes() == whole


def test_a_reply_that_evalscope_cannot_write_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(run_task=lambda task: "2 \ud800".encode())
    monkeypatch.setitem(sys.modules, "evalscope", fake)
    says = r"http://here/v1: a reply holds half a surrogate pair, .*: '\\ud800'"
    with pytest.raises(EndpointError, match=says):
        run_evalscope(SimpleNamespace(api_url="http://here/v1"))


KIMI = ("\u25c1think\u25b7", "\u25c1/think\u25b7")
HARMONY = (
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
MARKS = [("<think>", "</think>"), ("[THINK]", "[/THINK]"), KIMI, HARMONY]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_an_answer_stands_after_the_thinking(opening: str, closing: str) -> None:
    assert answer_part(f"{opening}6 or 7{closing}\n7") == "7"
    assert answer_part(f"{opening}6 or 7{closing}") == ""
    # one that ended itself in its thinking is searched as a whole
    assert answer_part(f"{opening}6 or 7") == f"{opening}6 or 7"


def test_an_answer_without_thinking_is_the_whole() -> None:
    assert answer_part("6 or </think> 7") == "7"
    assert answer_part("7, as `</think>` says") == "7, as `</think>` says"
    assert answer_part("7") == "7"


@pytest.mark.parametrize(
    ("response", "part"),
    [
        ("<think>\n<answer>6</answer>\n</think>\n<answer>7</answer>", "7"),
        ("<think>6</think><answer>\n\\boxed{7}\n</answer>\n", "\\boxed{7}"),
        ("<think>6</think>It is <answer>7</answer>, not <answer>8</answer>", "7"),
        ("<think>6</think><answer>\n</answer>", ""),
        ("<think>6</think>\n<answer>7", "<answer>7"),  # not closed
        ("<think>6</think>\n7</answer>", "7</answer>"),
        ("It is <answer>7</answer>", "7"),
    ],
)
def test_an_answer_in_tags_is_what_they_hold(response: str, part: str) -> None:
    """The first after the thinking, as ms-swift's `accuracy` reads it in training."""
    assert answer_part(response) == part


@pytest.mark.parametrize(("opening", "closing"), MARKS)
@pytest.mark.parametrize("stop", ["max_tokens", "length"])
def test_a_draft_is_known_by_its_mark(
    opening: str, closing: str, stop: str, tmp_path: Path
) -> None:
    """evalscope found its number in all three; the first two were cut off while they thought."""
    folder = tmp_path / "predictions" / "model"
    write_lines(
        folder / "math_500.jsonl",
        prediction(0, f"{opening}2 but", stop),
        prediction(1, f"{opening}2{closing}", stop),
        prediction(2, f"{opening}3{closing}It is 2, as", stop),
    )
    reviews = tmp_path / "reviews" / "model" / "math_500.jsonl"
    write_lines(reviews, *(review(index, 1.0) for index in range(3)))
    keep_samples(tmp_path, tmp_path / "samples" / "math500.jsonl", 3)
    kept = (tmp_path / "samples" / "math500.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["right"] for line in kept] == [False, False, True]


def test_responses_that_count_as_wrong_unread_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thinking = [{"type": "reasoning", "reasoning": "It is 2"}, {"type": "text", "text": ""}]
    folder = tmp_path / "predictions" / "model"
    write_lines(folder / "math_500.jsonl", *(prediction(i, thinking) for i in range(2)))
    excluded = review(1, 0.0)
    excluded["sample_score"]["score"] |= {"value": {}, "status": "excluded"}
    write_lines(tmp_path / "reviews" / "model" / "math_500.jsonl", review(0, 0.0), excluded)
    keep_samples(tmp_path, tmp_path / "samples" / "math500.jsonl", 2)
    assert "1 of 2 responses could not be scored, and count as wrong" in caplog.text
    assert "2 of 2 responses end after their thinking, without an answer" in caplog.text
