"""Resources of event loops: who shares one, when it ends, and what a pickled copy has."""

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlkd_plugin.llm_io.per_loop import PerLoop


def test_users_of_a_loop_share_one_until_the_last_leaves() -> None:
    resources: PerLoop[object] = PerLoop()

    async def work() -> None:
        first = resources.enter(object)
        assert resources.enter(object) is first is resources.here
        assert resources.leave() is None
        assert resources.here is first
        assert resources.leave() is first
        assert not resources
        with pytest.raises(KeyError):
            _ = resources.here
        assert resources.enter(object) is not first
        resources.leave()

    asyncio.run(work())


def test_each_loop_has_its_own() -> None:
    resources: PerLoop[object] = PerLoop()

    async def work() -> object:
        mine = resources.enter(object)
        for _ in range(50):
            assert resources.here is mine
            await asyncio.sleep(0.001)
        assert resources.leave() is mine
        return mine

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: asyncio.run(work()), range(4)))
    assert len(set(map(id, found))) == 4
    assert not resources


def test_what_cannot_be_made_is_not_kept() -> None:
    resources: PerLoop[object] = PerLoop()

    def fail() -> object:
        raise OSError("no more files")

    async def work() -> None:
        with pytest.raises(OSError, match="no more files"):
            resources.enter(fail)
        assert not resources

    asyncio.run(work())


def test_a_pickled_copy_has_none() -> None:
    resources: PerLoop[asyncio.Lock] = PerLoop()

    async def work() -> PerLoop[asyncio.Lock]:
        resources.enter(asyncio.Lock)
        return pickle.loads(pickle.dumps(resources))

    assert not asyncio.run(work())
    assert resources
