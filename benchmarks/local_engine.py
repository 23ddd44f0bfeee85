"""The engine of the training process beside `swift deploy` with the same weights.

    python -m benchmarks.local_engine GSRM_FOLDER pairs.jsonl --model_type llama [--rows 16]

Two completions for each row of R-S pairs, its own path in other words and another row's, are
decomposed and scored: by `LocalEngine` with one request at once and with 16, and by `ServerEngine`
through `swift deploy --infer_backend transformers`, all in float32 and greedy. Structures and
rewards of the first and the last have to be equal. Prints counts, seconds and their ratios.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from swift.model import get_model_processor
from swift.template import get_template

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine
from tools.stand_ins.batch import score
from tools.stand_ins.swift_deploy import deploy


def read_samples(file: Path, rows: int) -> list[Sample]:
    """Return two completions for each row: its path in other words, and another row's path."""
    pairs = [json.loads(line) for line in file.read_text("utf-8").splitlines()[:rows]]
    samples = []
    for number, pair in enumerate(pairs):
        path = pair["reasoning_path"]
        for student in (f"Let us see. {path}", pairs[number - 1]["reasoning_path"]):
            samples.append(Sample(student, pair["problem"], pair["domain"], path))
    return samples


def time_score(engine: Engine, samples: list[Sample]) -> tuple[list[Score], float]:
    """Score the samples; return the scores and the seconds."""
    begin = time.monotonic()
    return score(engine, samples), time.monotonic() - begin


def local_engine(options: argparse.Namespace, batch: int) -> Engine:
    """Return the engine of this process, with `batch` requests at once."""
    model, processor = get_model_processor(
        str(options.model), model_type=options.model_type, torch_dtype=torch.float32
    )
    assert model is not None
    template = get_template(processor, template_type=options.template)
    settings = Settings(local_batch=batch, gsrm_max_tokens=options.max_tokens)
    return LocalEngine(settings, model.eval(), template)


def main() -> None:
    """Compare the engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model_type", default="llama")
    parser.add_argument("--template", default="chatml")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--max_tokens", type=int, default=512)
    options = parser.parse_args()
    samples = read_samples(options.pairs, options.rows)
    with deploy(options.model, options.model_type, options.template, options.max_tokens) as server:
        served, seconds = time_score(server, samples)
    one, alone = time_score(local_engine(options, 1), samples)
    many, together = time_score(local_engine(options, 16), samples)
    for name, local in (("one at once", one), ("16 at once", many)):
        both = list(zip(served, local, strict=True))
        structures = sum(
            a.student.structure == b.student.structure
            and a.teacher.structure == b.teacher.structure
            for a, b in both
        )
        rewards = sum(a.reward == b.reward for a, b in both)
        print(f"{name}: {structures} of {len(samples)} structures and {rewards} rewards equal")
    students = [one.student.structure for one in served if one.student.structure]
    well_formed = sum(bool(structure.final_answer) for structure in students)
    totals = {one.reward.total for one in served if one.reward}
    print(f"{well_formed} student structures are well-formed; {len(totals)} different rewards")
    print(
        f"swift deploy {seconds:.0f} s, in this process one at once {alone:.0f} s "
        f"(x {alone / seconds:.2f}), 16 at once {together:.0f} s (x {together / seconds:.2f})"
    )


if __name__ == "__main__":
    main()
