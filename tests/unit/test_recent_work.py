"""Work that is shared by all who ask for it at about the same time."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from rlkd_plugin.rlkd_eval.scores.recent_work import RecentWork

T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    """Run to the end, or fail in place of hanging."""

    async def limited() -> T:
        return await asyncio.wait_for(work, 10)

    return asyncio.run(limited())


class Begun:
    """Counts what is begun, and how it ended; each waits until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def work(self) -> int:
        self.count += 1
        number = self.count
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


def test_who_asks_meanwhile_or_later_shares_the_result() -> None:
    async def ask() -> tuple[list[int], int]:
        begun, recent = Begun(), RecentWork[int](8)
        waiting = [asyncio.ensure_future(recent.do("key", begun.work)) for _ in range(3)]
        await asyncio.sleep(0)
        begun.go.set()
        found = [await one for one in waiting]
        return [*found, await recent.do("key", begun.work)], begun.count

    assert run(ask()) == ([1, 1, 1, 1], 1)


def test_only_the_newest_results_are_kept() -> None:
    async def ask() -> list[int]:
        begun, recent = Begun(), RecentWork[int](2)
        begun.go.set()
        # b is asked for again, so that a is the oldest when c comes
        return [await recent.do(key, begun.work) for key in "ab" + "b" + "c" + "ba"]

    assert run(ask()) == [1, 2, 2, 3, 2, 4]


def test_work_goes_on_as_long_as_anybody_waits() -> None:
    async def ask() -> tuple[int, int]:
        begun, recent = Begun(), RecentWork[int](8)
        first, second = (asyncio.ensure_future(recent.do("key", begun.work)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        begun.go.set()
        return await second, begun.cancelled

    assert run(ask()) == (1, 0)


def test_work_that_everybody_left_is_cancelled_and_begins_anew() -> None:
    async def ask() -> tuple[int, int]:
        begun, recent = Begun(), RecentWork[int](8)
        first = asyncio.ensure_future(recent.do("key", begun.work))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        begun.go.set()
        found = await recent.do("key", begun.work)
        await recent.close()
        return found, begun.cancelled

    assert run(ask()) == (2, 1)


def test_an_error_is_everybodys_and_is_not_kept() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("gone")

    async def ask() -> int:
        begun, recent = Begun(), RecentWork[int](8)
        begun.go.set()
        waiting = [recent.do("key", fail) for _ in range(2)]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in errors] == ["gone", "gone"]
        return await recent.do("key", begun.work)

    assert run(ask()) == 1


def test_nothing_outlives_its_end() -> None:
    async def ask() -> int:
        begun, recent = Begun(), RecentWork[int](8)
        waiting = asyncio.ensure_future(recent.do("key", begun.work))
        await asyncio.sleep(0.01)
        await recent.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return begun.cancelled

    assert run(ask()) == 1
