"""Rates a minute: how requests and tokens are spaced out, over real HTTP where servers count."""

import asyncio
import pickle
import time

import pytest

from rlkd_plugin.llm_io.pace import Pace
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings
from tests.support.loopback import JUDGE, Loopback, said, status


async def starts(pace: Pace, tokens: list[float], used: list[float]) -> list[float]:
    """When each of some requests may start, all waiting at once; each settles at once."""
    pace.open()
    begin = time.monotonic()

    async def request(taken: float, cost: float) -> float:
        await pace.turn(taken)
        started = time.monotonic() - begin
        pace.settle(cost - taken)
        return started

    return await asyncio.gather(*map(request, tokens, used))


def test_requests_are_spaced_out_in_the_order_of_asking() -> None:
    """The first at once, and each of the others no sooner than 0.1 s after the one before."""
    times = asyncio.run(starts(Pace(600), [5] * 6, [5] * 6))
    assert times == sorted(times)
    assert all(start >= 0.1 * number - 0.001 for number, start in enumerate(times))


def test_the_first_request_waits_for_nothing() -> None:
    """At one a minute a wait would be one of 60 s."""
    (start,) = asyncio.run(starts(Pace(1), [5], [5]))
    assert start < 30


def test_tokens_that_were_not_used_come_back() -> None:
    """At 60 a minute 1,000 tokens are 1,000 seconds; one of them was used."""
    assert max(asyncio.run(starts(Pace(0, 60), [1000] * 4, [0.1] * 4))) < 60


def test_tokens_beyond_those_taken_are_paid_for_however_late_they_are_known() -> None:
    async def second() -> float:
        pace = Pace(0, 6000)
        pace.open()
        await pace.turn(1)
        await asyncio.sleep(0.2)
        pace.settle(50)
        return await pace.turn(1)

    assert asyncio.run(second()) >= 0.45


def test_no_limit_is_no_wait() -> None:
    assert max(asyncio.run(starts(Pace(), [1e9] * 100, [1e9] * 100))) < 60


def test_a_pace_travels_to_another_process() -> None:
    pace = Pace(600)
    asyncio.run(starts(pace, [1], [1]))
    assert asyncio.run(starts(pickle.loads(pickle.dumps(pace)), [1], [1]))


def ask(loopback: Loopback, requests: int, **rates: float) -> float:
    """Send requests all at once with a role's client; return the seconds that they took."""
    settings = Settings(
        **{"judge_base_url": loopback.url, "judge_model": JUDGE, "startup_patience": 5, **rates}
    )

    async def work() -> None:
        async with role_client("judge", settings) as client:
            messages = [{"role": "user", "content": "hello"}]
            await asyncio.gather(
                *(client.complete(messages, max_tokens=20, temperature=0) for _ in range(requests))
            )

    begin = time.monotonic()
    asyncio.run(work())
    return time.monotonic() - begin


def test_repeated_requests_count_too(loopback: Loopback) -> None:
    """Two requests, one of them refused twice: four at 300 a minute are three gaps of 0.2 s."""
    loopback.then("judge", status(429, Retry_After="0"), status(503))
    loopback.always("judge", said("fine"))
    assert ask(loopback, 2, requests_per_minute=300) >= 0.6
    assert len(loopback.asked) == 4


def test_tokens_are_those_that_the_server_counts(loopback: Loopback) -> None:
    """A reply costs 10 tokens: at 1,200 a minute five of them need four gaps of half a second."""
    loopback.always("judge", said("fine"))
    seconds = ask(loopback, 5, tokens_per_minute=1200)
    assert 2.0 <= seconds


def test_a_rank_takes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Settings(requests_per_minute=100, tokens_per_minute=10).rank_rates == (25, 2.5)
