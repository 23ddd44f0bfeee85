"""Does ms-swift's `accuracy` do right by our `solution`? Every gold against itself and a neighbour.

    python benchmarks/gold_answers.py math500.jsonl

The file has rows with `answer`. A completion that ends in the gold has to earn 1, one that ends in
the next row's gold 0; each exception is printed. Golds that are equal in value are no exception:
the neighbour is the next row whose answer has another text, and a pair that math-verify finds equal
is printed all the same, to be looked at.
"""

import json
import sys
from pathlib import Path

from swift.rewards import orms

from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

FORMS = ("The answer is {}.", "<think>\nx\n</think>\n<answer>\n{}\n</answer>")


def main(file: Path) -> None:
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
