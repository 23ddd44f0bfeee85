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

TAGS = ["[Meta-reasoning 1]: ", "[Sub-problem 1]: ", "[Answer 1]: ", "[Answer 2]", "[Query 1]"]
ODD_TAGS = ["[Meat-reasoning 2]:", "[sub-think 3] ", "[META-REASONING 1]", "[Answer 99999]: "]
BRACKETS = ["[[", "]"]
ENDS = ["So the final answer is: ", "So the final answer is"]
MARKS = ["**", "# ", "- ", "> ", "-", "--", ":"]
SPACES = ["\n", "\r\n", "\n\n", " ", "\t", "\u2028", "\x0b", "\x00", "\ufeff", "\u200b", "\xa0"]
FORMULAS = ["H+", "Cl-", "$x^2$", "\\frac{1}{2}", "\\boxed{", "}"]
CONTROL = ["<think>", "</think>", "<|im_end|>", "⟦", "⟧"]
UNICODE = ["\ud800", "é", "中", "\U0001d465", "🙂", "ﬁ", "\u0661", "²"]
FILLERS = ["0", "12", "a", "the"]
MENTIONS = ["by [Answer 1] we know", "(step 1)", "1.", "[1]"]
HALF_TAGS = ["[Answer]", "[ Answer 1 ]", "[Answer 1"]
WIDE_TAGS = [
    "\u3010Meta\u2011reasoning 1\u3011\uff1a",
    "\uff3bAnswer \uff11\uff3d",
    "\u300cSub\u2013problem 2\u300d: ",
]
LOOK_ALIKES = [*WIDE_TAGS, "[Answer\u202f1]", "__[Answer 1]:__ ", "`[Query 2]`", "[**Answer 2**:]"]
WIDE_ENDS = ["\nSo\uff0cthe final answer is\uff1a", "\n**So the\xa0final answer is:** "]
LAYOUT = [
    "\n### Step 2\n",
    "\n---\n",
    "\n***\n",
    "\n2.\n",
    "\n> ",
    "\n```\n",
    "\n```py\n",
    " ***",
    "\n| ",
]
STEPS = [
    "\nStep 2 of 4\n",
    "\n**Step 2:**\n",
    "\n\u7b2c\u4e8c\u6b65\n",
    "\n[End]\n",
    " [End]",
    "\n## x\n",
    "\u2014",
]
TAG_PIECES = [*TAGS, *ODD_TAGS, *BRACKETS, *ENDS, *LOOK_ALIKES, *WIDE_ENDS]
OTHER_PIECES = [*MARKS, *SPACES, *FORMULAS, *CONTROL, *UNICODE, *FILLERS, *MENTIONS, *HALF_TAGS]
OTHER_PIECES += [*LAYOUT, *STEPS]
PIECES = TAG_PIECES + OTHER_PIECES
WORDS = ["add", "both", "parts", "2 + 3", "$x$", "so", "therefore", "the rest", "12 pens", "x"]
LENGTHS = ((1_000, "to 1,000"), (10_000, "to 10,000"), (1_000_000, "over 10,000"))


def make_structure(dice: random.Random) -> str:
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


def mutate(dice: random.Random) -> str:
    """Return a mutated structure text, or a text of pieces alone."""
    text = make_structure(dice) if dice.random() < 0.8 else ""
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
