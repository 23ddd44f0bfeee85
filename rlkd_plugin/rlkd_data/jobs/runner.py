"""Runs asynchronous work over many rows, with bounded concurrency and in flat memory."""

import gc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rlkd_plugin.engines.in_flight import gather_all

Item = TypeVar("Item")
Result = TypeVar("Result")

COLLECT_AFTER = (50_000, 20, 100)
"""Thresholds of the garbage collector during a job. With Python's own it takes a fifth of the CPU
time of a job with many small requests."""


async def run_job(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    write: Callable[[Item, Result], None],
    concurrency: int,
) -> None:
    """Work on every item, `concurrency` at a time, and write each result as it finishes.

    An item is read from the source when a worker is free for it. The first error ends the job: it
    cancels the work in flight, and what was written stays.

    Args:
        items: may be larger than memory.
        work: called concurrently.
        write: called in the event loop, one result after another.
        concurrency: items in work at once, at least 1.

    Raises:
        Exception: what `work` or `write` raised first.
    """
    source: Iterator[Item] = iter(items)

    async def worker() -> None:
        for item in source:
            write(item, await work(item))

    with _rare_collections():
        await gather_all(worker() for _ in range(concurrency))


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage rarely in the body, and never look at the objects from before it."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
