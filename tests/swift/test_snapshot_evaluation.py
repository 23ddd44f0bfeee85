"""`rlkd eval` and `rlkd diversity` over the snapshots of a run, and the report of both.

Each model is served by a stand-in of `vllm serve`, a process of its own, whose replies say what
stands in the snapshot.
"""

import html
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.rlkd_cli import app
from tests.support.json_server import serving

VLLM = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

given = sys.argv[2:]
model, option = given[0], dict(zip(given[1:-1], given[2:]))
if "--lora-modules" in option:
    name, _, model = option["--lora-modules"].partition("=")
else:
    name = option["--served-model-name"]
with open({log!r}, "a") as log:
    log.write(model + "\\n")
said = (Path(model) / "said.txt").read_text()
if said == "broken":
    sys.exit("no room on the device")

class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply({{"data": [{{"id": name}}]}})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {{"role": "assistant", "content": said}}
        choice = {{"index": 0, "message": message, "finish_reason": "stop"}}
        usage = {{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        self.reply({{"id": "x", "object": "chat.completion", "created": 0, "model": name,
                    "choices": [choice], "usage": usage}})

    def reply(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(option["--port"])), Server).serve_forever()
"""
RIGHT = "We add 2 and 3.\n2 + 3 = 5.\nThe answer is \\boxed{5}."
WRONG = "We add 2 and 3.\n2 + 3 = 6.\nThe answer is \\boxed{6}."


class Place:
    """A run with snapshots, and the commands that measure it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "output" / "shift_rlkd"
        self.log = folder / "served.txt"
        (folder / "bin").mkdir()
        command = folder / "bin" / "vllm"
        command.write_text(VLLM.format(python=sys.executable, log=str(self.log)))
        command.chmod(0o755)
        self.path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        base = self.model(folder / "base", WRONG)
        self.part = self.run / "v0-20260101-120000"
        self.part.mkdir(parents=True)
        (self.part / "args.json").write_text(json.dumps({"model": str(base)}))

    def model(self, place: Path, said: str) -> Path:
        place.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "trainer_state.json"):
            (place / name).write_text("{}")
        (place / "said.txt").write_text(said)
        return place

    def snapshot(self, step: int, said: str) -> Path:
        return self.model(self.part / "snapshots" / f"checkpoint-{step}", said)

    def rlkd(self, *words: Any, code: int = 0, **env: str) -> str:
        given = {"PATH": self.path, "COLUMNS": "200", **env}
        done = CliRunner().invoke(app, [str(word) for word in words], env=given)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    def served(self) -> list[str]:
        """The models that were served since the last call, by their folder's name."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [Path(line).name for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_figure_4_of_a_run(place: Place) -> None:
    """A server that fails is named, and ends the command; the next one goes on with its model.

    What is done is not served again, and a snapshot that comes later is measured by the same
    command. The report draws one line of all of them.
    """
    data = place.folder / "gsm8k.jsonl"
    data.write_text(json.dumps({"question": "Two and three?", "answer": "2+3=5\n#### 5"}) + "\n")
    out = place.folder / "eval"
    command = ["eval", out, "--snapshots", place.run, "--with-base", "--sets", "gsm8k"]
    command += ["--data", f"gsm8k={data}", "--samples", "gsm8k=2", "--max-tokens", "16"]
    place.snapshot(20, RIGHT)
    fails = place.snapshot(40, "broken")

    said = place.rlkd(*command, code=1)
    assert "no room on the device" in said and f"shift_rlkd, step 40 (3 of 3), {fails}" in said
    assert "Done so far: 2. Give the same command again to resume with this one" in said
    assert place.served() == ["base", "checkpoint-20", "checkpoint-40"]

    place.snapshot(40, RIGHT)
    place.snapshot(100, WRONG)
    said = place.rlkd(*command)
    assert "shift_rlkd, step 20 (2 of 4): already done" in said
    assert place.served() == ["checkpoint-40", "checkpoint-100"]
    found = {}
    for step in (0, 20, 40, 100):
        result = json.loads((out / f"checkpoint-{step}" / "eval.json").read_text())
        assert (result["run"], result["step"]) == ("shift_rlkd", step)
        assert result["label"] == f"shift_rlkd, step {step}"
        found[step] = result["sets"]["gsm8k"]["pass_at_1"]["value"]
    assert found == {0: 0.0, 20: 1.0, 40: 1.0, 100: 0.0}

    place.rlkd("report", out)
    page = (out / "report.html").read_text("utf-8").replace(" ", "")
    assert '"x":[0,20,40,100]' in html.unescape(page)

    other = place.rlkd(*command, "--temperature", "1", code=1)
    assert "shift_rlkd, step 0 (1 of 4)" in other and "temperature: 0.6 there, 1.0 now" in other
    assert place.served() == []


@pytest.fixture
def embeddings() -> Iterator[str]:
    """An embedding server: texts that share words are near."""

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        data = []
        for number, text in enumerate(body["input"]):
            vector = [20.0 * ("prime" in text)] + [0.0] * 255  # the check of embeddings asks so
            for word in text.lower().split():
                vector[1 + sum(word.encode()) % 255] += 1
            data.append({"index": number, "embedding": vector})
        return 200, {"data": data, "usage": {"prompt_tokens": 1}}

    with serving(answer) as url:
        yield f"{url}/v1"


def test_figure_5_of_a_run(place: Place, embeddings: str) -> None:
    """A LoRA is served on the base model that its training names."""
    rows = place.folder / "rows.jsonl"
    rows.write_text(json.dumps({"problem": "Two and three?", "domain": "math"}) + "\n")
    adapter = place.snapshot(20, RIGHT)
    (adapter / "adapter_config.json").write_text('{"r": 8}')
    (adapter / "args.json").write_text(json.dumps({"model": str(place.folder / "base")}))
    env = {"RLKD_ENGINE": "rules", "RLKD_EMBED_BASE_URL": embeddings, "RLKD_EMBED_MODEL": "words"}
    out = place.folder / "diversity"
    command = ["diversity", out, rows, "--snapshots", place.run, "--samples", "2", "--count", "1"]
    place.rlkd(*command, **env)
    assert place.served() == ["checkpoint-20"]
    place.snapshot(40, WRONG)
    said = place.rlkd(*command, **env)
    assert "shift_rlkd, step 20 (1 of 2): already done" in said
    assert place.served() == ["checkpoint-40"]
    labels = [
        json.loads((out / f"checkpoint-{step}" / "diversity.json").read_text())["label"]
        for step in (20, 40)
    ]
    assert labels == ["shift_rlkd, step 20", "shift_rlkd, step 40"]
    place.rlkd("report", out)
    assert "Diversity of responses" in (out / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "20"], "--steps needs --snapshots"),
        (["--with-base"], "--with-base needs --snapshots"),
        (["--snapshots", "RUN", "--label", "x"], "--label is for one model"),
        (["--snapshots", "RUN", "--steps", "20-40"], "--steps 20-40: give steps as whole numbers"),
        (["--snapshots", "RUN", "--steps", "60"], "has no model of step 60; it has steps 20"),
        (["--snapshots", "none"], "there is no folder none"),
    ],
)
@pytest.mark.parametrize("command", ["eval", "diversity"])
def test_options_that_do_not_go_together_are_said(
    command: str, words: list[str], says: str, place: Place
) -> None:
    place.snapshot(20, RIGHT)
    rows = place.folder / "rows.jsonl"
    rows.write_text(json.dumps({"problem": "Two and three?", "domain": "math"}) + "\n")
    given = [str(place.run) if word == "RUN" else word for word in words]
    given += [rows, "--count", "1"] if command == "diversity" else ["--sets", "gsm8k"]
    env = {"RLKD_ENGINE": "rules", "RLKD_EMBED_BASE_URL": "http://127.0.0.1:9/v1"}
    out = place.folder / "out"
    assert says in place.rlkd(command, out, *given, code=1, RLKD_EMBED_MODEL="m", **env)
    assert not out.exists()
