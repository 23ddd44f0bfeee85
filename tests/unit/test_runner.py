"""Work over many rows: concurrency, errors, and the garbage collector."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from rlkd_plugin.rlkd_data.jobs.runner import COLLECT_AFTER, run_job


def test_as_many_items_are_in_work_as_asked_for_and_no_more_are_read() -> None:
    read, most, in_work = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(20):
            read += 1
            assert read <= in_work + 1 + len(written)
            yield number

    async def work(item: int) -> int:
        nonlocal in_work, most
        in_work += 1
        most = max(most, in_work)
        await asyncio.sleep(0)
        in_work -= 1
        return -item

    written: dict[int, int] = {}
    asyncio.run(run_job(items(), work, written.__setitem__, 3))
    assert written == {number: -number for number in range(20)}
    assert most == 3


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_collected_rarely_during_a_job_and_as_before_after_it(fails: bool) -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    seen = []

    async def work(item: int) -> int:
        seen.append(gc.get_threshold())
        if fails:
            raise ValueError("no")
        return item

    try:
        asyncio.run(run_job([1], work, lambda item, result: None, 1))
    except ValueError:
        assert fails
    assert seen == [COLLECT_AFTER]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, frozen)
