"""The engine of the training process beside `swift deploy` with the same weights.

    python benchmarks/local_engine.py GSRM_FOLDER pairs.jsonl --model_type llama [--rows 16]

Two completions for each row of R-S pairs, its own path in other words and another row's, are
decomposed and scored: by `LocalEngine` with one request at once and with 16, and by `ServerEngine`
through `swift deploy --infer_backend transformers`, all in float32 and greedy. Structures and
rewards of the first and the last have to be equal. Prints counts, seconds and their ratios.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings


def samples(file: Path, rows: int) -> list[Sample]:
    """Return two completions for each row: its path in other words, and another one's path."""
    pairs = [json.loads(line) for line in file.read_text("utf-8").splitlines()[:rows]]
    made = []
    for number, pair in enumerate(pairs):
        path = pair["reasoning_path"]
        for student in (f"Let us see. {path}", pairs[number - 1]["reasoning_path"]):
            made.append(Sample(student, pair["problem"], pair["domain"], path))
    return made


def scored(engine: Engine, batch: list[Sample]) -> tuple[list[Score], float]:
    """Score a batch; return the scores and the seconds."""

    async def work() -> list[Score]:
        async with engine:
            return await score_batch(batch, engine)

    begin = time.monotonic()
    return asyncio.run(work()), time.monotonic() - begin


def local(args: argparse.Namespace, batch: int) -> Engine:
    """Return the engine of this process."""
    import torch
    from swift.model import get_model_processor
    from swift.template import get_template

    from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine

    model, processor = get_model_processor(
        str(args.model), model_type=args.model_type, torch_dtype=torch.float32
    )
    template = get_template(processor, template_type=args.template)
    settings = Settings(local_batch=batch, gsrm_max_tokens=args.max_tokens)
    return LocalEngine(settings, model.eval(), template)


@contextmanager
def deployed(model: Path, model_type: str, template: str, max_tokens: int) -> Iterator[Engine]:
    """Start `swift deploy`, and give an engine that asks it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, find_spec("swift.cli.deploy").origin]
    command += ["--model", str(model), "--model_type", model_type]
    command += ["--template", template, "--infer_backend", "transformers"]
    command += ["--torch_dtype", "float32"]
    command += ["--port", str(port), "--host", "127.0.0.1", "--served_model_name", "gsrm"]
    command += ["--verbose", "false"]
    log = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the server
    with socket.create_server(("127.0.0.1", 0)) as free:  # ms-swift opens a process group of one
        env = {**os.environ, "MASTER_PORT": str(free.getsockname()[1])}
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    url = f"http://127.0.0.1:{port}/v1"
    names: dict[str, Any] = {"gsrm_model": "gsrm", "judge_model": "gsrm"}
    names |= {"gsrm_base_url": url, "judge_base_url": url}
    try:
        while True:
            if server.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"swift deploy ended: {log.read().decode()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/models").close()
                break
            except OSError:
                time.sleep(1)
        yield ServerEngine(Settings(gsrm_max_tokens=max_tokens, request_timeout=3600, **names))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", type=Path)
    options.add_argument("rows_file", type=Path)
    options.add_argument("--model_type", default="llama")
    options.add_argument("--template", default="chatml")
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--max_tokens", type=int, default=512)
    args = options.parse_args()
    batch = samples(args.rows_file, args.rows)
    with deployed(args.model, args.model_type, args.template, args.max_tokens) as remote:
        served, seconds = scored(remote, batch)
    one, alone = scored(local(args, 1), batch)
    many, together = scored(local(args, 16), batch)
    well_formed = sum(
        score.student.structure is not None and bool(score.student.structure.final_answer)
        for score in served
    )
    for name, other in (("one at once", one), ("16 at once", many)):
        structures = sum(
            a.student.structure == b.student.structure
            and a.teacher.structure == b.teacher.structure
            for a, b in zip(served, other, strict=True)
        )
        rewards = sum(a.reward == b.reward for a, b in zip(served, other, strict=True))
        print(f"{name}: {structures} of {len(batch)} structures and {rewards} rewards equal")
    totals = [score.reward.total for score in served if score.reward]
    print(f"{well_formed} student structures are well-formed; {len(set(totals))} different rewards")
    print(
        f"swift deploy {seconds:.0f} s, in this process one at once {alone:.0f} s "
        f"(x {alone / seconds:.2f}), 16 at once {together:.0f} s (x {together / seconds:.2f})"
    )


if __name__ == "__main__":
    main()
