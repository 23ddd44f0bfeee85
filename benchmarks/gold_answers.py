"""Checks ms-swift's `accuracy` on our `solution`: every gold against itself and a neighbour.

    python -m benchmarks.gold_answers math500.jsonl

The file has rows with `answer`: a text, a number, or GSM8K's worked solution with `#### result`.
Prints the counts of rewritten golds, and of rejected ones by reason. A completion that ends in the
gold has to earn 1, one that ends in the neighbour's gold 0; each exception is printed. The
neighbour is the next row whose answer has another text; a pair of the same value is printed too,
for a reader to judge.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from swift.rewards import orms

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.golds import NormalisedGold
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row, gsm8k_row

FORMS = ("The answer is {}.", "<think>\nx\n</think>\n<answer>\n{}\n</answer>")


def read_golds(file: Path) -> list[str]:
    """Return the golds of a file; print the rewritten and the rejected ones."""
    golds, rejected = [], Counter[str]()
    for line in file.open(encoding="utf-8"):
        row = json.loads(line)
        try:
            if "####" in str(row["answer"]):
                gold = gsm8k_row(row)["solution"]
            else:
                raw = {"problem": "p", "teacher_reasoning": "r", "answer": row["answer"]}
                gold = grpo_row(raw)["solution"]
        except FormatError as error:
            rejected[str(error).partition(":")[0]] += 1
            print(f"  rejected: {error}")
            continue
        if isinstance(gold, NormalisedGold):
            print(f"  rewritten: {str(row['answer'])[-40:]!r} as {gold}")
        golds.append(gold)
    rewritten = sum(isinstance(gold, NormalisedGold) for gold in golds)
    count = rejected.total()
    print(f"{len(golds)} golds, {rewritten} rewritten, {count} rejected: {dict(rejected)}")
    return golds


def check(file: Path) -> None:
    """Print the counts and every exception."""
    golds = read_golds(file)
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
