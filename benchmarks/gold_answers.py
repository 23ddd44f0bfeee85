"""Checks ms-swift's `accuracy` on our `solution`: every gold against itself and a neighbour.

    python -m benchmarks.gold_answers math500.jsonl

The file has rows with `answer`. A completion that ends in the gold has to earn 1, one that ends in
the neighbour's gold 0; each exception is printed. The neighbour is the next row whose answer has
another text; a pair of the same value is printed too, for a reader to judge.
"""

import argparse
import json
from pathlib import Path

from swift.rewards import orms

from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

FORMS = ("The answer is {}.", "<think>\nx\n</think>\n<answer>\n{}\n</answer>")


def check(file: Path) -> None:
    """Print the counts and every exception."""
    answers = [json.loads(line)["answer"] for line in file.open(encoding="utf-8")]
    golds = [
        grpo_row({"problem": "p", "teacher_reasoning": "r", "answer": answer})["solution"]
        for answer in answers
    ]
    neighbours = [
        next(other for other in golds[i + 1 :] + golds[:i] if other != gold)
        for i, gold in enumerate(golds)
    ]
    accuracy = orms["accuracy"]()
    for form in FORMS:
        own = accuracy([form.format(gold) for gold in golds], golds)
        foreign = accuracy([form.format(other) for other in neighbours], golds)
        print(f"{form!r}: {len(golds)} golds, {sum(own):.0f} right for themselves,", end=" ")
        print(f"{sum(foreign):.0f} right for the neighbour's answer")
        for gold, other, is_right, is_foreign in zip(golds, neighbours, own, foreign, strict=True):
            if not is_right:
                print(f"  not right for itself: {gold}")
            if is_foreign:
                print(f"  right for another answer: {gold} and {other}")


def main() -> None:
    """Check the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    check(parser.parse_args().file)


if __name__ == "__main__":
    main()
