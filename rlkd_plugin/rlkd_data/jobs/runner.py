"""Runs asynchronous work over many rows, with bounded concurrency and in flat memory."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_job(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    write: Callable[[Item, Result], None],
    concurrency: int,
) -> None:
    """Work on every item, `concurrency` at a time, and write each result as it comes.

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

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
