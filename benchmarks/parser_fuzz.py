"""Generated structure texts through the parser: nothing but `FormatError`, nothing superlinear.

    python -m benchmarks.parser_fuzz [--texts 1000000] [--processes 2]

A text is a good structure, mutated: pieces of tags, numbers, fences, control tokens and Unicode are
inserted, cut, repeated and moved; or pieces alone. Tags have look-alikes, and layout stands around
them. A structure that is read must come back unchanged from its own rendering. Lengths are mixed,
up to 200,000 characters. Prints the slowest text by CPU time per byte of each length class, so that
a cost that grows with length shows.
"""

import argparse
import multiprocessing
import random
import time
from collections import Counter
from contextlib import suppress

from rlkd_plugin.gsrm import FormatError, parse_structure, render_structure
from tools.stand_ins.structure_texts import mutate

LENGTHS = ((1_000, "to 1,000"), (10_000, "to 10,000"), (1_000_000, "over 10,000"))


def parse_many(arguments: tuple[int, int]) -> tuple[Counter[str], dict[str, tuple[float, str]]]:
    """Parse many texts; return the counts of outcomes and the slowest text of each length class."""
    seed, texts = arguments
    dice = random.Random(seed)
    counts: Counter[str] = Counter()
    slowest: dict[str, tuple[float, str]] = {}
    for _ in range(texts):
        text = mutate(dice)
        begin = time.process_time()
        try:
            structure = parse_structure(text)
        except FormatError:
            structure = None
        seconds = time.process_time() - begin
        counts["structure" if structure else "FormatError"] += 1
        counts["nanoseconds"] += round(seconds * 1e9)
        counts["characters"] += len(text)
        if structure and parse_structure(render_structure(structure)) != structure:
            raise AssertionError(f"not read back: {text[:500]!r}")
        size = len(text.encode("utf-8", "replace"))
        name = next(name for most, name in LENGTHS if size <= most)
        counts[name] += 1
        if seconds / max(size, 200) > slowest.get(name, (0.0, ""))[0]:
            again = []
            for _ in range(
                5
            ):  # CPU time, the least of five: a shared machine has pauses of its own
                begin = time.process_time()
                with suppress(FormatError):
                    parse_structure(text)
                again.append(time.process_time() - begin)
            cost = min(again) / max(size, 200)
            if cost > slowest.get(name, (0.0, ""))[0]:
                slowest[name] = cost, f"{size:,} bytes, {text[:60]!r}"
    return counts, slowest


def main() -> None:
    """Parse the texts in several processes and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    parts = 50
    counts: Counter[str] = Counter()
    slowest: dict[str, tuple[float, str]] = {}
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        jobs = [(seed, options.texts // parts) for seed in range(parts)]
        for more, slow in pool.imap_unordered(parse_many, jobs):
            counts += more
            for name, found in slow.items():
                slowest[name] = max(found, slowest.get(name, (0.0, "")))
    structures, errors = counts["structure"], counts["FormatError"]
    parsing = counts["nanoseconds"] / (structures + errors) / 1000
    print(f"{parsing:.1f} microseconds a text in the parser, {counts['characters']:,} characters")
    print(
        f"{structures + errors:,} texts in {time.monotonic() - begin:.0f} s: "
        f"{structures:,} structures, {errors:,} FormatErrors, nothing else"
    )
    for _, name in LENGTHS:
        cost, text = slowest[name]
        number = f"{counts[name]:,}"
        print(f"{number} texts {name} bytes, the slowest {cost * 1e9:.0f} ns a byte: {text}")


if __name__ == "__main__":
    main()
