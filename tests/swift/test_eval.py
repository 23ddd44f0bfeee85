"""A real `rlkd eval --model`: a checkpoint behind `swift deploy`, started, asked and ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tests.support.swift_run import MODEL, ROOT, rows
from tests.support.templates import template, tokenizer_with


def trained_ids(problem: str) -> list[int]:
    """The ids with which ms-swift trains on a problem."""
    made = template(tokenizer_with(), "vllm")
    return made.encode({"messages": [{"role": "user", "content": problem}]})["input_ids"]


def test_a_model_is_served_evaluated_and_gone(tmp_path: Path) -> None:
    model = tmp_path / "checkpoint-1"  # as a training with a relative path to the plugin left it
    model.mkdir()
    for file in MODEL.iterdir():
        (model / file.name).symlink_to(file)
    trained = {"template": "rlkd_r1", "external_plugins": ["elsewhere/register.py"]}
    (model / "args.json").write_text(
        json.dumps({"model_type": "llama", "swift_version": "4.6.0", **trained})
    )
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
            *["--model", str(model), "--sets", "gsm8k", "--data", f"gsm8k={data}"],
            *[
                "--samples",
                "gsm8k=2",
                "--max-tokens",
                "4",
                "--temperature",
                "0",
                "--label",
                "small",
            ],
            *["--server-options", f"--torch_dtype {cpu_dtype()}"],
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
    assert "serving with the template rlkd_r1, as it was trained" in done.stdout
    (prompt,) = {
        line["model_output"]["usage"]["input_tokens"]
        for file in (tmp_path / "out" / "evalscope").rglob("predictions/**/*.jsonl")
        for line in rows(file)
    }
    assert prompt == len(trained_ids("Two and three?"))
    mark = f"RLKD_TEST_MARK={tmp_path}".encode()
    for process in psutil.process_iter():
        try:
            assert mark not in Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
