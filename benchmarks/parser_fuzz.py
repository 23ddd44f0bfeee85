"""Generated structure texts through the parser: nothing but `FormatError`, nothing superlinear.

    python benchmarks/parser_fuzz.py [--texts 1000000] [--processes 2]

A text is a good structure, mutated: pieces of tags, numbers, fences, control tokens and Unicode put
in, cut out, repeated and moved; or pieces alone. Whatever is read must be read again unchanged from
its own rendering. Lengths are mixed, up to 200,000 characters; reports the slowest text per byte of
each length class, so that a cost that grows with length shows.
"""

import argparse
import multiprocessing
import random
import time
from collections import Counter
from contextlib import suppress

from rlkd_plugin.gsrm import FormatError, parse_structure, render_structure

PIECES = [
    *("[Meta-reasoning 1]: ", "[Sub-problem 1]: ", "[Answer 1]: ", "[Answer 2]", "[Query 1]"),
    *("[Meat-reasoning 2]:", "[sub-think 3] ", "[META-REASONING 1]", "[Answer 99999]: ", "[[", "]"),
    *("So the final answer is: ", "So the final answer is", "**", "# ", "- ", "> ", "-", "--", ":"),
    *("\n", "\r\n", "\n\n", " ", "\t", "\u2028", "\x0b", "\x00", "\ufeff", "\u200b", "\xa0"),
    *("H+", "Cl-", "$x^2$", "\\frac{1}{2}", "\\boxed{", "}", "<think>", "</think>", "<|im_end|>"),
    *("⟦", "⟧", "\ud800", "é", "中", "\U0001d465", "🙂", "ﬁ", "\u0661", "²", "0", "12", "a", "the"),
    *("by [Answer 1] we know", "(step 1)", "1.", "[1]", "[Answer]", "[ Answer 1 ]", "[Answer 1"),
]
WORDS = ["add", "both", "parts", "2 + 3", "$x$", "so", "therefore", "the rest", "12 pens", "x"]
LENGTHS = ((1_000, "to 1,000"), (10_000, "to 10,000"), (1_000_000, "over 10,000"))


def good(dice: random.Random) -> str:
    """Return a structure text of some steps."""
    lines = []
    for number in range(1, dice.randint(1, 8) + 1):
        for name in ("Meta-reasoning", "Sub-problem", "Answer"):
            from_pieces = dice.random() < 0.1
            words = " ".join(
                dice.choice(PIECES if from_pieces else WORDS) for _ in range(dice.randint(1, 6))
            )
            lines.append(f"[{name} {number}]: {words}")
    return "\n".join([*lines, f"So the final answer is: {dice.randint(0, 99)}"])


def mutated(dice: random.Random) -> str:
    """Return a text that the parser may see."""
    text = good(dice) if dice.random() < 0.8 else ""
    for _ in range(dice.randint(0, 6)):
        at, end = sorted(dice.randint(0, len(text)) for _ in range(2))
        kind = dice.random()
        if kind < 0.5:
            text = text[:at] + dice.choice(PIECES) + text[at:]
        elif kind < 0.7:
            text = text[:at] + text[end:]
        elif kind < 0.85:
            text = text[:at] + text[at:end] * dice.randint(2, 4) + text[end:]
        else:
            text = text[end:] + text[at:end] + text[:at]
        text = text[:20_000]
    if dice.random() < 0.002:
        piece = "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 4)))
        text = text[:1000] + piece * (dice.randint(10_000, 200_000) // max(1, len(piece)))
    return text


def work(arguments: tuple[int, int]) -> tuple[Counter[str], dict[str, tuple[float, str]]]:
    """Parse many texts; return what came of them and the slowest of each length class."""
    seed, texts = arguments
    dice = random.Random(seed)
    came: Counter[str] = Counter()
    slowest: dict[str, tuple[float, str]] = {}
    for _ in range(texts):
        text = mutated(dice)
        begin = time.perf_counter()
        try:
            structure = parse_structure(text)
        except FormatError:
            structure = None
        seconds = time.perf_counter() - begin
        came["structure" if structure else "FormatError"] += 1
        if structure and parse_structure(render_structure(structure)) != structure:
            raise AssertionError(f"not read back: {text[:500]!r}")
        size = len(text.encode("utf-8", "replace"))
        name = next(name for most, name in LENGTHS if size <= most)
        came[name] += 1
        if seconds / max(size, 200) > slowest.get(name, (0.0, ""))[0]:
            again = []
            for _ in range(5):  # the least of five: a shared machine has pauses of its own
                begin = time.perf_counter()
                with suppress(FormatError):
                    parse_structure(text)
                again.append(time.perf_counter() - begin)
            cost = min(again) / max(size, 200)
            if cost > slowest.get(name, (0.0, ""))[0]:
                slowest[name] = cost, f"{size:,} bytes, {text[:60]!r}"
    return came, slowest


def main() -> None:
    """Run it on some processes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--texts", type=int, default=1_000_000)
    options.add_argument("--processes", type=int, default=2)
    args = options.parse_args()
    parts = 50
    came: Counter[str] = Counter()
    slowest: dict[str, tuple[float, str]] = {}
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        jobs = [(seed, args.texts // parts) for seed in range(parts)]
        for counts, slow in pool.imap_unordered(work, jobs):
            came += counts
            for name, found in slow.items():
                slowest[name] = max(found, slowest.get(name, (0.0, "")))
    print(
        f"{came['structure'] + came['FormatError']:,} texts in {time.monotonic() - begin:.0f} s: "
        f"{came['structure']:,} structures, {came['FormatError']:,} FormatErrors, nothing else"
    )
    for _, name in LENGTHS:
        cost, text = slowest[name]
        print(f"{came[name]:,} texts {name} bytes, the slowest {cost * 1e9:.0f} ns a byte: {text}")


if __name__ == "__main__":
    main()
