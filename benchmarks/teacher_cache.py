"""Two processes on one teacher cache, one of them killed in the middle.

    python benchmarks/teacher_cache.py [--operations 10000]

Each reads and writes at random; what it reads has to be whole and right, and what it wrote has to
be there at once and at the end. Each notes what it wrote in a file of its own, after the write.
"""

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from rlkd_plugin.gsrm import Step, Structure
from rlkd_plugin.llm_io.teacher_cache import DiskCache

KEYS = 2000


def entry(key: int) -> tuple[str, str, str, Structure]:
    """Return what the cache has to say of a key: a structure of 1 to 12 steps."""
    steps = tuple(
        Step(f"plan {key} {n} " * 20, f"question {key} {n}", f"{key * n}")
        for n in range(key % 12 + 1)
    )
    return f"Problem {key}", "math", f"path {key} " * 50, Structure(steps, str(key))


def work(folder: Path, ledger: Path, operations: int, seed: int) -> None:
    """Read and write; raises where an entry is torn, wrong or lost."""
    dice = random.Random(seed)
    cache = DiskCache(folder, "identity")
    with ledger.open("ab", buffering=0) as noted:
        for _ in range(operations):
            key = dice.randrange(KEYS)
            *asked, structure = entry(key)
            if dice.random() < 0.5:
                cache.put(*asked, structure)
                noted.write(b"%d\n" % key)
                assert cache.get(*asked) == structure, f"entry {key} is lost"
            else:
                assert cache.get(*asked) in (None, structure), f"entry {key} is wrong"


def run(folder: Path, operations: int) -> str:
    """Run both, kill the second half-way, and check what is there; return the counts.

    Raises:
        AssertionError: if an entry is torn, wrong or lost, or a process fails.
    """
    context = multiprocessing.get_context("spawn")
    ledgers = [folder / f"ledger {number}" for number in (0, 1)]
    both = [
        context.Process(target=work, args=(folder / "cache", ledger, operations, seed))
        for seed, ledger in enumerate(ledgers)
    ]
    for process in both:
        process.start()
    while both[1].is_alive() and len(_noted(ledgers[1])) < operations // 4:
        time.sleep(0.001)
    os.kill(both[1].pid, signal.SIGKILL)
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, -signal.SIGKILL]
    cache = DiskCache(folder / "cache", "identity")
    written = [_noted(ledger) for ledger in ledgers]
    for key in {*written[0], *written[1]}:
        *asked, structure = entry(key)
        assert cache.get(*asked) == structure, f"entry {key} is lost"
    whole = [file for file in (folder / "cache").rglob("*.json") if not file.name.startswith(".")]
    half = [file for file in (folder / "cache").rglob(".*") if file.is_file()]
    return (
        f"{operations} operations and a process killed after {len(written[1])} writes: "
        f"{len(written[0])} + {len(written[1])} writes noted, {len(whole)} entries, all whole; "
        f"{len(half)} temporary file(s) left by the kill"
    )


def _noted(ledger: Path) -> list[int]:
    if not ledger.exists():
        return []
    return [int(line) for line in ledger.read_bytes().split(b"\n")[:-1]]


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--operations", type=int, default=10_000)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(run(Path(folder), args.operations))


if __name__ == "__main__":
    main()
