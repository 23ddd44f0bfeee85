"""R-S pairs from GSM8K's Socratic rows: the sub-problems and answers are written by people.

    python benchmarks/socratic_pairs.py gsm8k_socratic.jsonl pairs.jsonl [ROWS]

A row has lines `sub-question ** step` in `answer`, then the result after `####`. Its path is
the steps as they stand; a step's answer is its last calculated value. The meta-reasoning is made
from the sub-question and the operation of the step: plain, but it gives no result away.
"""

import json
import re
import sys
from itertools import islice
from pathlib import Path

from rlkd_plugin.gsrm import Step, Structure, render_structure

NOTE = re.compile(r"<<([^<>]*)=([^<>=]*)>>")
OPERATIONS = {
    "*": "by multiplying",
    "/": "by dividing",
    "-": "by taking the difference",
    "+": "by adding up",
}
OPENINGS = ("The path starts with", "With this known, the next thing to find is", "What is left is")


def pair(row: dict[str, str]) -> dict[str, str] | None:
    """Return the pair of a row, or None where a step has no calculation to read an answer off."""
    *lines, result = row["answer"].split("\n")
    steps, path = [], []
    for number, line in enumerate(lines):
        question, mark, said = line.partition(" ** ")
        notes = NOTE.findall(said)
        if not mark or not notes:
            return None
        expression, value = notes[-1]
        how = next((words for sign, words in OPERATIONS.items() if sign in expression[1:]), "")
        opening = OPENINGS[0 if number == 0 else 2 if number == len(lines) - 1 else 1]
        asked = question.strip().rstrip("?").lower()
        steps.append(Step(f"{opening} {asked} {how}".strip() + ".", question.strip(), value))
        path.append(NOTE.sub("", said).strip())
    if not steps:
        return None
    final = result.removeprefix("####").strip()
    return {
        "problem": row["question"],
        "domain": "math",
        "reasoning_path": "\n".join(path),
        "structure": render_structure(Structure(tuple(steps), final)),
    }


def main(source: Path, out: Path, most: int) -> None:
    """Write the first pairs."""
    rows = map(json.loads, source.open(encoding="utf-8"))
    pairs = list(islice(filter(None, map(pair, rows)), most))
    out.write_text("".join(json.dumps(p, ensure_ascii=False) + "\n" for p in pairs), "utf-8")
    print(f"{len(pairs)} pairs in {out}")


if __name__ == "__main__":
    most = int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize
    main(Path(sys.argv[1]), Path(sys.argv[2]), most)
