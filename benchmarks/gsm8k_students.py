"""Students' completions of GSM8K problems, made from the worked solutions."""

import json
import random
from pathlib import Path

from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row


def make_completions(file: Path, prompts: int, seed: int) -> list[Sample]:
    """Return four completions for each of some problems with three steps or more.

    They are the worked solution in other words; the same with a wrong end; without its second step;
    with another first step.
    """
    dice = random.Random(seed)
    rows = [gsm8k_row(json.loads(line)) for line in file.read_text("utf-8").splitlines()[:2000]]
    dice.shuffle(rows)
    samples: list[Sample] = []
    for row in rows:
        steps = [line for line in row["teacher_reasoning"].splitlines() if "=" in line]
        if len(steps) < 3:
            continue
        for number, variant in enumerate(_variants(steps, dice)):
            text = "\n".join(f"{step} " + "Let me check it. " * number for step in variant)
            completion = f"<think>\n{text}\n</think>"
            samples.append(
                Sample(completion, row["problem"], row["domain"], row["teacher_reasoning"])
            )
        if len(samples) == 4 * prompts:
            return samples
    raise SystemExit(f"{file} has too few problems with three steps")


def _variants(steps: list[str], dice: random.Random) -> list[list[str]]:
    reworded = [f"Then we see that {step[0].lower()}{step[1:]}" for step in steps]
    last = reworded[-1].rpartition("=")[0]
    return [
        reworded,
        [*reworded[:-1], f"{last}= {dice.randint(1000, 9999)}"],
        [reworded[0], *reworded[2:]],
        ["At the start 7 + 8 = 15 things are put aside.", *reworded[1:]],
    ]
