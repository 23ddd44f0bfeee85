"""Nothing that `rlkd eval`, evalscope or openai's client writes or prints holds a key of ours."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.evalscope_model import evalscope_model
from rlkd_plugin.rlkd_cli import app
from tests.support.json_server import serving
from tests.support.raw_server import raw_server
from tests.support.row_lines import write

KEY = "sk-eval-s3cret-0123456789"
OTHER = "sk-judge-s3cret-987654321"
BASIC = [base64.b64encode(f"{user}{KEY}".encode()).decode() for user in ("", "a", "user:")]
SAID = f"{KEY} {OTHER} {' '.join(BASIC)}"
ROW = {
    "problem": "What is 1 + 1?",
    "answer": "2",
    "solution": "Add.",
    "level": 1,
    "unique_id": "t/1",
    "subject": "Algebra",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    monkeypatch.setenv("RLKD_JUDGE_API_KEY", OTHER)


def evaluated(folder: Path, reply: tuple[int, Any], code: int, *more: str) -> str:
    """Run an evaluation whose server says one thing; return all that it left, and its output."""
    asked: list[dict[str, Any]] = []

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append(body)
        return reply

    data = write(folder / "math.jsonl", [ROW])
    with serving(answer) as url:
        words = ["eval", str(folder / "out"), "--url", f"{url}/v1", "--key-env", "MY_KEY"]
        words += ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=2"]
        done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == code, (done.output, done.exception)
    assert isinstance(done.exception, SystemExit | None)
    files = {file.relative_to(folder): file for file in folder.rglob("*") if file.is_file()}
    assert any("eval_log" in str(name) for name in files)
    assert any("task_config" in str(name) for name in files)
    texts = {str(name): file.read_text("utf-8") for name, file in files.items()}
    for name, text in {**texts, "the screen": done.output}.items():
        assert "s3cret" not in text, name
        assert not any(part[4:-4] in text for part in BASIC), name
    assert asked
    return done.output + "".join(texts.values())


def completion(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": SAID,
        "object": "chat.completion",
        "created": 0,
        "model": SAID,
        "system_fingerprint": SAID,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_rejected_request_shows_no_key(status: int, tmp_path: Path) -> None:
    left = evaluated(tmp_path, (status, {"error": {"message": SAID, "code": SAID}}), 1)
    assert f"Error code: {status}" in left and "***" in left


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": f"It is \\boxed{{2}}. {SAID}"},
        {"role": "assistant", "content": "It is \\boxed{2}.", "reasoning_content": SAID},
        {"role": "assistant", "content": f"<think>{SAID}</think>\\boxed{{2}}", "refusal": None},
    ],
)
def test_a_response_holds_no_key_and_is_scored(message: dict[str, Any], tmp_path: Path) -> None:
    """In the responses, their reviews, our samples; also where it is scored again."""
    left = evaluated(tmp_path, (200, completion(message)), 0)
    assert "***" in left
    result = json.loads((tmp_path / "out" / "eval.json").read_text("utf-8"))
    assert result["sets"]["math500"]["pass_at_1"]["value"] == 1.0


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": SAID}},
        {"choices": [], "note": SAID},
        {"choices": [{"message": 5}], "note": SAID},
        {"choices": None, "note": SAID},
    ],
)
def test_a_200_that_is_no_completion_ends_in_a_sentence_without_a_key(
    body: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalscope.utils import function_utils

    monkeypatch.setattr(function_utils.time, "sleep", lambda _: None)
    left = evaluated(tmp_path, (200, body), 1)
    assert "rlkd: http://127.0.0.1" in left and "run the same command again" in left


# --- the client alone: evalscope retries these for minutes ---


@contextmanager
def client_of(reply: tuple[int, Any]) -> Iterator[Any]:
    with serving(lambda *_: reply) as url:
        model: Any = evalscope_model(f"{url}/v1", "m", "MY_KEY")
        yield model.client.with_options(max_retries=0).chat.completions


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_an_error_that_is_retried_holds_no_key(status: int) -> None:
    from openai import APIStatusError

    with (
        client_of((status, {"error": {"message": SAID}})) as client,
        pytest.raises(APIStatusError) as error,
    ):
        client.create(model="m", messages=[])
    shown = f"{error.value} {error.value.body} {error.value.response.text}"
    assert "***" in shown and "s3cret" not in shown
    assert not any(part[4:-4] in shown for part in BASIC)


def test_the_key_is_sent_and_others_are_not() -> None:
    model: Any = evalscope_model("http://h/v1", "m", "MY_KEY")
    assert model.client.api_key == KEY
    assert evalscope_model("http://h/v1", "m", "").api_key == "EMPTY"


def test_a_key_that_no_header_can_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret\nother")
    with pytest.raises(EndpointError, match="the API key in MY_KEY has a line break") as error:
        evalscope_model("http://h/v1", "m", "MY_KEY")
    assert "s3cret" not in str(error.value)


def test_a_connection_that_breaks_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the library below quotes what the server sent, and its cause does."""
    import traceback

    from openai import APIConnectionError

    with raw_server(f"HTTP/1.1 200 OK\r\nX bad {KEY}\r\n\r\n".encode()) as url:
        model: Any = evalscope_model(url, "m", "MY_KEY")
        with pytest.raises(APIConnectionError) as error:
            model.client.with_options(max_retries=0).chat.completions.create(model="m", messages=[])
    assert "s3cret" not in "".join(traceback.format_exception(error.value))
