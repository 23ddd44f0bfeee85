"""Writes the R-S pairs that the project ships: its own problems, decomposed by the rules engine.

    python tools/demo_pairs.py

They have the form of a GSRM's training data and show that its training runs. They do not teach
what a GSRM should learn: the rules read a plan off the words of a sentence.
"""

import asyncio
import json
from pathlib import Path

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import render_structure

SAMPLES = Path(__file__).resolve().parents[1] / "rlkd_plugin" / "rlkd_data" / "samples"
PROBLEMS = SAMPLES / "rlkd_demo_problems.jsonl"
PAIRS = SAMPLES / "rlkd_demo_pairs.jsonl"


async def pairs() -> str:
    """Return the pairs as JSON lines, in the order of the problems."""
    engine = RulesEngine()
    lines = []
    for line in PROBLEMS.read_text("utf-8").splitlines():
        row = json.loads(line)
        path = row["teacher_reasoning"]
        found = await engine.decompose(row["problem"], row["domain"], path)
        assert found.structure, f"the rules find no step in the path of {row['problem']}"
        pair = {
            "problem": row["problem"],
            "domain": row["domain"],
            "reasoning_path": path,
            "structure": render_structure(found.structure),
        }
        lines.append(json.dumps(pair, ensure_ascii=False) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    PAIRS.write_text(asyncio.run(pairs()), "utf-8")
