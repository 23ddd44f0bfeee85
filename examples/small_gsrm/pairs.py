"""R-S pairs for the small GSRM, from GSM8K's Socratic rows (section 3.1's training data, in small).

    python -m examples.small_gsrm.pairs gsm8k_socratic.jsonl OUT [--pairs 570]

Writes `train.jsonl`, one path for each problem, its variant in turn, and, of the file's last 100
rows, `unseen.jsonl` with all three variants. Each line has `problem`, `domain`, `reasoning_path`,
`structure`, and where it comes from: `row`, `variant`, `mistake`.
"""

import argparse
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from examples.small_gsrm.paths import VARIANTS, path
from examples.small_gsrm.plans import structure
from examples.small_gsrm.problems import Problem, read_problems
from rlkd_plugin.gsrm import render_structure


def pair(problem: Problem, variant: str, seed: int = 0) -> dict[str, object]:
    """Return a path of a problem with its structure; the same for the same arguments."""
    found = path(problem, variant, random.Random(f"{seed} {problem.row} {variant}"))
    return {
        "problem": problem.question,
        "domain": "math",
        "reasoning_path": found.text,
        "structure": render_structure(structure(problem, found.parts, found.final)),
        "row": problem.row,
        "variant": variant,
        "mistake": found.mistake,
    }


def write_rows(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write JSON lines."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), "utf-8")
    print(f"{len(lines)} rows in {file}")


def main() -> None:
    """Write the training and the unseen pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=570)
    options = parser.parse_args()
    train, unseen = read_problems(options.source)
    options.out.mkdir(parents=True, exist_ok=True)
    if len(train) < options.pairs:
        raise SystemExit(
            f"{options.source} has {len(train)} problems to train on, --pairs asks for "
            f"{options.pairs}; it must be GSM8K's Socratic form, test_socratic.jsonl"
        )
    chosen = random.Random(1).sample(train, options.pairs)
    write_rows(
        options.out / "train.jsonl",
        (pair(p, VARIANTS[i % len(VARIANTS)]) for i, p in enumerate(chosen)),
    )
    write_rows(options.out / "unseen.jsonl", (pair(p, v) for p in unseen for v in VARIANTS))


if __name__ == "__main__":
    main()
