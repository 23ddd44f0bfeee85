"""The ranking of candidates by `prms["rlkd_gsrm"]`, through ms-swift's own sampler.

    python benchmarks/sampling.py gsm8k_train.jsonl [--rows 32]

A scripted sampler offers four candidates for each problem whose path has three steps or more: the
teacher's path, the same with its last answer changed, with the second step replaced, with the first
step replaced. The rules engine scores them; ms-swift's `VanillaSampler.do_sample` ranks and keeps.
"""

import argparse
import json
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rlkd_plugin.engines.trace import read_rows
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row

OTHER_STEP = "Umbrellas in the hall stand for 7 + 8 = 15 guests."


def candidates(path: str) -> list[str] | None:
    """Return the four candidates of a path, None where it has fewer than three equations."""
    lines = [line for line in path.splitlines() if line.strip()]
    steps = [number for number, line in enumerate(lines) if "=" in line]
    if len(steps) < 3:
        return None
    end = lines[steps[-1]]
    before, _, after = end.rpartition("=")
    digits = "".join(char for char in after if char.isdigit()) or "0"
    changed = f"{before}= {int(digits) + 1}"
    return [
        "\n".join(lines),
        "\n".join([*lines[: steps[-1]], changed]),
        "\n".join([*lines[: steps[1]], OTHER_STEP, *lines[steps[1] + 1 :]]),
        "\n".join([*lines[: steps[0]], OTHER_STEP, *lines[steps[0] + 1 :]]),
    ]


def sampled(rows: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """Return what ms-swift's sampler keeps of rows that have their `choices` already."""
    from swift.pipelines.sampling.vanilla_sampler import VanillaSampler
    from swift.rewards import orms, prms

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    sampler = object.__new__(VanillaSampler)
    choices = {"n_best_to_keep": 1, "prm_threshold": 0.0, "easy_query_threshold": None, **options}
    orm = choices.pop("orm_model", None)
    sampler.args = SimpleNamespace(prm_model="rlkd_gsrm", orm_model=orm, **choices)
    sampler.prm_model = prms["rlkd_gsrm"]()
    sampler.orm_model = orms[orm]() if orm else None
    sampler.generate = lambda data: data  # type: ignore[method-assign]
    return [json.loads(line) for line in sampler.do_sample(rows)]


def ranked(file: Path, count: int, scores: Path) -> list[list[float]]:
    """Return the candidates' scores for each of `count` rows of GSM8K, in the order offered."""
    os.environ.update(RLKD_ENGINE="rules", RLKD_TRACE_DIR=str(scores))
    rows = []
    for line in file.read_text("utf-8").splitlines():
        row = gsm8k_row(json.loads(line))
        offered = candidates(row["teacher_reasoning"])
        if offered is None:
            continue
        turns = ("user", row["problem"]), ("assistant", offered[0])
        messages = [{"role": role, "content": content} for role, content in turns]
        rows.append({"messages": messages, "choices": offered})
        if len(rows) == count:
            break
    kept = sampled(rows)
    assert len(kept) == count, f"{len(kept)} of {count} rows kept"
    assert all(row["messages"][-1]["content"] != row["rejected_response"] for row in kept)
    traced = [row["reward"] for row in read_rows(scores / "rlkd_sample_scores.jsonl")]
    return [traced[at : at + 4] for at in range(0, len(traced), 5)]  # the fifth is the teacher's


def main() -> None:
    """Print how many rows are ranked in the right order."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", type=Path)
    options.add_argument("--rows", type=int, default=32)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores = ranked(args.file, args.rows, Path(folder))
    right = sum(all(a > b for a, b in pairwise(s)) for s in scores)
    means = [sum(column) / len(scores) for column in zip(*scores, strict=True)]
    print(f"{right} of {len(scores)} rows in the right order; mean scores {means}")


if __name__ == "__main__":
    main()
