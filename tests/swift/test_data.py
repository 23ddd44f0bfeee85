"""Real `swift` runs on rows in the hubs' shapes: what arrives where, and without any network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlkd_plugin.rlkd_data.prepare import prepare
from tests.support.swift_run import (
    ONE_STEP_A_LINE,
    PLUGIN,
    grpo,
    rows,
    steps_logged,
    swift,
    swift_as_typed,
    tiny_options,
)
from tools.stand_ins.hub_shapes import openr1, pair
from tools.stand_ins.places import ROOT
from tools.stand_ins.tiny_model import tiny_model

PROBE = '''
"""A reward that writes down every column that it is given."""
import json
import os
from swift.rewards import ORM, orms

class Probe(ORM):
    def __call__(self, completions, **columns):
        with open(os.environ["PROBE_FILE"], "a") as file:
            for number in range(len(completions)):
                row = {k: v[number] for k, v in columns.items() if isinstance(v, list)}
                file.write(json.dumps(row, default=str) + "\\n")
        return [0.0] * len(completions)

orms["probe"] = Probe
'''

COUNT_NETWORK = '''
"""Python runs this at its start: it writes down every look-up and connection beyond loopback."""
import os
import socket

def watched(function, address_of):
    def call(*args, **kwargs):
        address = address_of(args)
        host = address[0] if isinstance(address, tuple) else address
        local = host in (None, "", "localhost", "127.0.0.1", "::1", b"localhost", "0.0.0.0")
        unix = isinstance(address, (str, bytes)) and str(address).startswith(("/", "b'/"))
        if not local and not unix and host != socket.gethostname():
            with open(os.environ["NETWORK_FILE"], "a") as file:
                file.write(f"{os.getpid()} {function.__name__} {address}\\n")
        return function(*args, **kwargs)
    return call

class Watched(socket.socket):
    connect = watched(socket.socket.connect, lambda args: args[1])
    connect_ex = watched(socket.socket.connect_ex, lambda args: args[1])

socket.socket = Watched
socket.getaddrinfo = watched(socket.getaddrinfo, lambda args: args[0])
'''


REWARDS = ["accuracy", "format", "rlkd_tag_count", "rlkd_gsrm"]


def write(file: Path, raw: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in raw), "utf-8")
    return file


def test_every_column_of_an_openr1_row_arrives_in_the_reward(tiny: Path, tmp_path: Path) -> None:
    """GRPO with the think/answer template and all four rewards of the reference recipe."""
    raw = [openr1(n, answer=None if n == 3 else str(2 * n)) for n in range(1, 7)]
    (tmp_path / "probe.py").write_text(PROBE)
    options = {
        **tiny_options(tiny),
        "external_plugins": [PLUGIN, tmp_path / "probe.py"],
        "dataset": f"rlkd/openr1-math:{write(tmp_path / 'openr1.jsonl', raw)}#4",
        "template": "rlkd_r1",
        "reward_funcs": [*REWARDS, "probe"],
        "reward_weights": [15, 10, 10, 15, 0],
    }
    env = {"RLKD_ENGINE": "rules", "PROBE_FILE": str(tmp_path / "columns.jsonl")}
    env["RLKD_BRANCHES"] = "2"
    log = grpo(tmp_path / "run", env=env, **options)
    assert "5 of 6 rows kept; dropped 1: answer is missing or not a text" in log
    given = rows(tmp_path / "columns.jsonl")
    assert len(given) == 8  # two steps of one group of 4
    made = {f"What is ${n} + {n}$?": n for n in range(1, 7)}
    for row in given:
        number = made[row["problem"]]
        assert row["solution"] == f"\\boxed{{{2 * number}}}"
        assert row["domain"] == "math"
        assert row["teacher_reasoning"] == f"I guess {2 * number}."
        assert row["teacher_branches"] == [row["teacher_reasoning"]]
        assert not row["teacher_structure"]
        system, user, *_ = row["messages"]
        assert (system["role"], user["content"]) == ("system", row["problem"])
    step = steps_logged(tmp_path / "run")[0]
    assert {"rewards/RlkdTagCount/mean", "rewards/RlkdGsrm/mean"} <= step.keys()


def test_a_teachers_prompt_distils_in_grpo(tiny: Path, tmp_path: Path) -> None:
    """Rows of `rlkd prepare --teacher-prompt`: the student's own weights are its teacher, which
    reads more. One row lacks the column, and is in a batch with another; where all lack it, there
    is no teacher."""
    source = write(tmp_path / "openr1.jsonl", [openr1(n) for n in range(1, 5)])
    prepare("openr1-math", source, tmp_path / "plain.jsonl")
    prepare("openr1-math", source, tmp_path / "taught.jsonl", teacher_prompt=True)
    plain, taught = (rows(tmp_path / f"{name}.jsonl") for name in ("plain", "taught"))
    write(tmp_path / "mixed.jsonl", [*taught[:3], plain[3]])
    options = {**tiny_options(tiny), "template": "rlkd_r1", "reward_funcs": ["rlkd_gsrm"]}
    options["per_device_train_batch_size"] = 8  # two problems a step, so two steps take all four
    for name in ("plain", "mixed"):
        dataset = f"rlkd/jsonl:{tmp_path / name}.jsonl"
        grpo(tmp_path / name, env={"RLKD_ENGINE": "rules"}, dataset=dataset, **options)
    assert all("teacher_kl" not in step for step in steps_logged(tmp_path / "plain"))
    assert all(step["teacher_kl"] > 0 for step in steps_logged(tmp_path / "mixed"))


@pytest.mark.parametrize(
    ("name", "shape", "learned"),
    [
        ("openr1-math-sft", openr1, "\\boxed{"),
        ("gsrm-sft", pair, "So the final answer is: 5"),
    ],
)
def test_sft_learns_the_teachers_turn(
    name: str, shape: Any, learned: str, tiny: Path, tmp_path: Path
) -> None:
    """`swift sft` on the path itself, and on the structure."""
    file = write(tmp_path / "rows.jsonl", [shape(n) for n in range(1, 5)])
    log = swift(
        "sft",
        external_plugins=PLUGIN,
        dataset=f"rlkd/{name}:{file}",
        max_steps=1,
        per_device_train_batch_size=1,
        output_dir=tmp_path / "run",
        **tiny_options(tiny),
        **ONE_STEP_A_LINE,
    )
    assert f"rlkd: rlkd/{name}: 4 of 4 rows kept" in log
    labels = log.partition("[LABELS] ")[2].partition("\n[INFO")[0]
    assert learned in labels and "What is" not in labels.replace("Sub-problem 1]: What is", "")
    assert rows(tmp_path / "run" / "logging.jsonl")[0]["loss"] > 0


def test_a_downloaded_folder_trains_without_any_network(tmp_path: Path) -> None:
    """A recipe's model and data as local folders: ms-swift knows both, and no call goes out.

    `swift` is started as a user starts it, so that what happens at its start counts too.
    """
    (tmp_path / "data").mkdir()
    table = pa.Table.from_pylist([openr1(n) for n in range(1, 7)])
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(COUNT_NETWORK)
    calls = tmp_path / "network.txt"
    calls.touch()
    env = {"RLKD_ENGINE": "rules", "NETWORK_FILE": str(calls), "PYTHONPATH": str(site)}
    log = swift_as_typed(
        "rlhf",
        cwd=ROOT,
        env=env,
        rlhf_type="grpo",
        external_plugins=PLUGIN,
        model=tiny_model(tmp_path / "Qwen2.5-Math-7B"),
        template="rlkd_r1",
        dataset=f"rlkd/openr1-math:{tmp_path / 'data'}#4",
        reward_funcs=REWARDS,
        num_generations=4,
        per_device_train_batch_size=4,
        beta=0,
        max_completion_length=16,
        max_steps=2,
        output_dir=tmp_path / "run",
        **ONE_STEP_A_LINE,
    )
    assert "model_type='qwen2'" in log or "model_type: qwen2" in log
    assert len(steps_logged(tmp_path / "run")) == 2
    assert calls.read_text() == ""


def test_the_network_counter_counts(tmp_path: Path) -> None:
    """The test above could not fail if it saw nothing."""
    (tmp_path / "sitecustomize.py").write_text(COUNT_NETWORK)
    calls = tmp_path / "network.txt"
    calls.touch()
    code = (
        "import http.client, urllib.request\n"
        "for ask in (lambda: urllib.request.urlopen('http://hub.invalid/x', timeout=1),\n"
        "            lambda: http.client.HTTPConnection('192.0.2.1', timeout=0.1).connect()):\n"
        "    try: ask()\n"
        "    except OSError: pass\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NETWORK_FILE": str(calls)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert "hub.invalid" in calls.read_text() and "192.0.2.1" in calls.read_text()
