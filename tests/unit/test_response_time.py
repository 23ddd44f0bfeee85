"""The request time-out of a student fits its token limit, unless the user sets one."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io import response_time
from rlkd_plugin.llm_io.response_time import fit_timeout, response_seconds
from rlkd_plugin.llm_io.settings import Settings, load_settings
from rlkd_plugin.rlkd_eval.diversity_job import draw_all
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing
from tests.support.plain_server import plain_server
from tests.support.row_lines import lines


def test_32768_tokens_have_their_time() -> None:
    """300 s to the first token, 32,768 / 5 = 6,553.6 s for the others."""
    assert fit_timeout(Settings(), 32768).request_timeout == pytest.approx(6853.6)
    assert response_seconds(32768) == pytest.approx(6853.6)


def test_a_time_out_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKD_REQUEST_TIMEOUT", "300")
    settings = load_settings()
    assert fit_timeout(settings, 32768) is settings
    update = settings.model_copy(update={"student_model": "m"})  # as the command does
    assert fit_timeout(update, 32768).request_timeout == 300


class Impatient(Settings):
    """Settings whose own time-out no reply keeps; retries do not help either."""

    request_timeout: float = 0.001
    patience: float = 0
    startup_patience: float = 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Settings that name a server which takes half a second; a token may take a millisecond."""
    monkeypatch.setattr(response_time, "TOKENS_PER_SECOND", 1000.0)

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.5)
        return {"content": "2", "reasoning": "1 + 1 = 2."}

    with plain_server(reply) as (url, _):
        yield {"student_base_url": url, "student_model": "m"}


def drawn(folder: Path, max_tokens: int, settings: Settings) -> list[Any]:
    """Draw two responses, and return their lines."""
    job = DiversityJob(folder, folder, Drawing(samples=2, max_tokens=max_tokens), "")
    asyncio.run(draw_all(job, [{"problem": "1 + 1?", "domain": "math"}], settings))
    return lines(job.responses)


def test_a_slow_server_has_the_time_that_the_tokens_need(slow: Any, tmp_path: Path) -> None:
    found = drawn(tmp_path, 60_000, Impatient(**slow))
    assert [(row["response"], row["thinking"]) for row in found] == [("2", "1 + 1 = 2.")] * 2


def test_fewer_tokens_have_less_time(slow: Any, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"no answer in 0\.051 s \(RLKD_REQUEST_TIMEOUT\)"):
        drawn(tmp_path, 50, Impatient(**slow))


def test_the_users_time_out_is_that_of_the_requests(slow: Any, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"no answer in 0\.05 s \(RLKD_REQUEST_TIMEOUT\)"):
        drawn(tmp_path, 60_000, Impatient(**slow, request_timeout=0.05))
