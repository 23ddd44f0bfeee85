"""Two processes on one teacher cache, one of them killed in the middle.

Each reads and writes at random. What it reads has to be whole and right, and what it wrote has to
be there at once and at the end. Each notes its writes in a ledger of its own, after the write.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

from rlkd_plugin.gsrm import Step, Structure
from rlkd_plugin.llm_io.teacher_cache import DiskCache

KEYS = 2000


def entry(key: int) -> tuple[tuple[str, str, str], Structure]:
    """Return what the cache is asked for a key, and its structure of 1 to 12 steps."""
    steps = tuple(
        Step(f"plan {key} {n} " * 20, f"question {key} {n}", f"{key * n}")
        for n in range(key % 12 + 1)
    )
    return (f"Problem {key}", "math", f"path {key} " * 50), Structure(steps, str(key))


def read_and_write(folder: Path, ledger: Path, operations: int, seed: int) -> None:
    """Read and write at random.

    Raises:
        AssertionError: if an entry is torn, wrong or lost.
    """
    dice = random.Random(seed)
    cache = DiskCache(folder, "identity")
    with ledger.open("ab", buffering=0) as writes:
        for _ in range(operations):
            key = dice.randrange(KEYS)
            question, structure = entry(key)
            if dice.random() < 0.5:
                cache.put(*question, structure)
                writes.write(b"%d\n" % key)
                assert cache.get(*question) == structure, f"entry {key} is lost"
            else:
                assert cache.get(*question) in (None, structure), f"entry {key} is wrong"


def check_cache(folder: Path, operations: int) -> str:
    """Run both processes, kill the second half-way, and check the cache; return the counts.

    Raises:
        AssertionError: if an entry is torn, wrong or lost, or a process fails.
    """
    context = multiprocessing.get_context("spawn")
    ledgers = [folder / f"ledger {number}" for number in (0, 1)]
    both = [
        context.Process(target=read_and_write, args=(folder / "cache", ledger, operations, seed))
        for seed, ledger in enumerate(ledgers)
    ]
    for process in both:
        process.start()
    victim = both[1].pid
    assert victim is not None
    while both[1].is_alive() and len(_keys(ledgers[1])) < operations // 4:
        time.sleep(0.001)
    os.kill(victim, signal.SIGKILL)
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, -signal.SIGKILL]
    cache = DiskCache(folder / "cache", "identity")
    writes = [_keys(ledger) for ledger in ledgers]
    for key in {*writes[0], *writes[1]}:
        question, structure = entry(key)
        assert cache.get(*question) == structure, f"entry {key} is lost"
    whole = [file for file in (folder / "cache").rglob("*.json") if not file.name.startswith(".")]
    half = [file for file in (folder / "cache").rglob(".*") if file.is_file()]
    return (
        f"{operations} operations and a process killed after {len(writes[1])} writes: "
        f"{len(writes[0])} + {len(writes[1])} writes noted, {len(whole)} entries, all whole; "
        f"{len(half)} temporary file(s) left by the kill"
    )


def _keys(ledger: Path) -> list[int]:
    if not ledger.exists():
        return []
    return [int(line) for line in ledger.read_bytes().split(b"\n")[:-1]]
