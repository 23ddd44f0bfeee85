"""The ranking of candidates by `prms["rlkd_gsrm"]`, through ms-swift's own sampler.

    python -m benchmarks.sampling gsm8k_train.jsonl [--rows 32]

For each problem whose path has three steps or more, the sampler is offered four candidates: the
teacher's path, the same with its last answer changed, with the second step replaced, with the first
step replaced. The rules engine scores them; ms-swift's `VanillaSampler.do_sample` ranks and keeps.
"""

import argparse
import json
import os
import tempfile
from itertools import pairwise
from pathlib import Path

from rlkd_plugin.engines.trace import read_rows
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row
from tools.stand_ins.sampler import make_candidates, run_sampler


def rank(file: Path, count: int, scores: Path) -> list[list[float]]:
    """Return the candidates' scores for each of `count` rows of GSM8K, in the order offered."""
    os.environ.update(RLKD_ENGINE="rules", RLKD_TRACE_DIR=str(scores))
    rows = []
    for line in file.read_text("utf-8").splitlines():
        row = gsm8k_row(json.loads(line))
        candidates = make_candidates(row["teacher_reasoning"])
        if candidates is None:
            continue
        messages = [
            {"role": "user", "content": row["problem"]},
            {"role": "assistant", "content": candidates[0]},
        ]
        rows.append({"messages": messages, "choices": candidates})
        if len(rows) == count:
            break
    kept = run_sampler(rows)
    assert len(kept) == count, f"{len(kept)} of {count} rows kept"
    assert all(row["messages"][-1]["content"] != row["rejected_response"] for row in kept)
    rewards = [row.reward or 0.0 for row in read_rows(scores / "rlkd_sample_scores.jsonl")]
    return [rewards[at : at + 4] for at in range(0, len(rewards), 5)]  # the fifth: the teacher's


def main() -> None:
    """Print how many rows are ranked in the right order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores = rank(options.file, options.rows, Path(folder))
    right = sum(all(a > b for a, b in pairwise(s)) for s in scores)
    means = [sum(column) / len(scores) for column in zip(*scores, strict=True)]
    print(f"{right} of {len(scores)} rows in the right order; mean scores {means}")


if __name__ == "__main__":
    main()
