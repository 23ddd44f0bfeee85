"""The samples of an evaluation, from the files that evalscope writes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.evalscope_run import run_evalscope
from rlkd_plugin.rlkd_eval.eval_samples import keep_samples, repair, scores_of


def write_lines(file: Path, *rows: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def prediction(index: int, reply: str) -> dict[str, Any]:
    choice = {"message": {"content": reply}, "stop_reason": "stop"}
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
