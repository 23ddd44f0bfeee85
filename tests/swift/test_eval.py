"""A real `rlkd eval --model`: the small model behind `swift deploy`, started and ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tests.support.swift_run import MODEL, ROOT, rows


def test_a_model_is_served_evaluated_and_gone(tmp_path: Path) -> None:
    data = tmp_path / "gsm8k.jsonl"
    data.write_text(json.dumps({"question": "Two and three?", "answer": "2+3=5\n#### 5"}) + "\n")
    path = os.pathsep.join(
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not Path(folder, "vllm").exists()
    )
    done = subprocess.run(
        [
            *[sys.executable, "-m", "rlkd_plugin.rlkd_cli", "eval", str(tmp_path / "out")],
            *["--model", str(MODEL), "--sets", "gsm8k", "--data", f"gsm8k={data}"],
            *["--samples", "gsm8k=2", "--max-tokens", "16", "--label", "small"],
            *[
                "--server-options",
                f"--model_type llama --template chatml --torch_dtype {cpu_dtype()}",
            ],
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "RLKD_TEST_MARK": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    samples = rows(tmp_path / "out" / "samples" / "gsm8k.jsonl")
    assert [row["stop"] for row in samples] == ["max_tokens"] * 2
    assert all(row["response"] for row in samples)
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["sets"]["gsm8k"]["cut_off"] == 1
    mark = f"RLKD_TEST_MARK={tmp_path}".encode()
    for process in psutil.process_iter():
        try:
            assert mark not in Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
