"""A real `vllm serve` asks a checkpoint with the token ids that ms-swift trained it with."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.llm_io.model_server import ServedModel, model_server
from rlkd_plugin.llm_io.prompting import choose_prompting
from rlkd_plugin.swift_hooks.data.serving_files import write_serving_files
from tests.support.conversations import ASKED, CONVERSATIONS, Message
from tests.support.each import check_each
from tests.support.templates import template
from tools.stand_ins.places import MODEL

END_OF_TURN, END_OF_TEXT = "<|im_end|>", "<|endoftext|>"
CHANGED: dict[str, dict[str, Any]] = {
    "tokenizer_config.json": {"eos_token": END_OF_TEXT},
    "config.json": {"eos_token_id": 0},
    "generation_config.json": {"eos_token_id": 0},
}
"""What makes the small model end its texts as a base model does, of which RLKD-Zero makes one that
ends its turns."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkpoint of `--template rlkd_r1`, whose own chat template is another one."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint-1"
    folder.mkdir()
    for file in MODEL.iterdir():
        if change := CHANGED.get(file.name):
            made = {**json.loads(file.read_text("utf-8")), **change}
            (folder / file.name).write_text(json.dumps(made), "utf-8")
        elif file.is_file():
            shutil.copyfile(file, folder / file.name)
    (folder / "args.json").write_text(json.dumps({"template": "rlkd_r1", "system": None}))
    return folder


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """Serve it as `rlkd eval` does."""
    log = tmp_path_factory.mktemp("served") / "server.log"
    options = "--max-model-len 1024 --enforce-eager --dtype float32"
    prompting = choose_prompting("auto", str(checkpoint), "")
    with model_server(str(checkpoint), "", options, log, prompting, write_serving_files) as found:
        yield found


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def test_a_request_has_the_ids_of_training(server: ServedModel, checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    made = template(AutoTokenizer.from_pretrained(checkpoint), "vllm")

    def check(messages: list[Message]) -> None:
        body = {"model": server.name, "messages": messages}
        served = post(server.url.replace("/v1", "/tokenize"), body)["tokens"]
        assert served == made.encode({"messages": [*map(dict, messages)]})["input_ids"]

    check_each(CONVERSATIONS, check)


def test_a_reply_ends_where_its_turn_ends(server: ServedModel, checkpoint: Path) -> None:
    """The base model's own end would be another one, and the reply go on up to its limit."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.eos_token == END_OF_TEXT
    for token in (END_OF_TURN, END_OF_TEXT):
        wanted = {str(tokenizer.convert_tokens_to_ids(token)): 100}
        body = {"model": server.name, "messages": [ASKED], "max_tokens": 3, "logit_bias": wanted}
        reply = post(f"{server.url}/chat/completions", body)
        assert reply["choices"][0]["finish_reason"] == "stop", token
        assert reply["usage"]["completion_tokens"] == 1
