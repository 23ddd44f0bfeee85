"""Our keys are in no text that comes from a server, whatever the server makes of them."""

import asyncio
import base64
import json
import os
import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tenacity import wait_fixed
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io import chat_client
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.model_cards import ask_cards
from rlkd_plugin.llm_io.own_keys import OwnKeys, own_keys
from rlkd_plugin.rlkd_cli import app
from tests.conftest import SetOptions
from tests.support.json_server import serving
from tests.support.raw_server import raw_server
from tests.support.row_lines import write
from tools.stand_ins.hub_shapes import STRUCTURE

KEY = "sk-proj-Ab12/Cd34+Ef56"
OTHER = "hf_0123456789AbCdEf"
ODD = 'sk-"odd\\key/with+signs'


def in_base64(key: str, before: str = "", behind: str = "") -> str:
    return base64.b64encode(f"{before}{key}{behind}".encode()).decode()


def escaped(key: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in key)


SPELLINGS: list[Callable[[str], str]] = [
    lambda key: key,
    lambda key: f"Bearer {key}.",
    lambda key: json.dumps({"key": key}),
    lambda key: json.dumps(json.dumps({"key": key})),
    escaped,
    lambda key: escaped(key).upper().replace("\\U", "\\u"),
    lambda key: key[:5] + escaped(key[5:8]) + key[8:],
    lambda key: key.replace("/", "\\/"),
    lambda key: quote(key, safe=""),
    lambda key: quote(key, safe="").lower() if key.islower() else quote(key),
    lambda key: "".join(f"%{ord(c):02X}" for c in key),
    *(
        lambda key, before=before: f"Basic {in_base64(key, before)}"
        for before in ("", "u", "us", "user:", "someone:", "someone else:")
    ),
    lambda key: in_base64(key, "user:", " and more"),
    lambda key: base64.urlsafe_b64encode(f"??>{key}>>?".encode()).decode().rstrip("="),
    lambda key: quote(in_base64(key, "~~~"), safe=""),
    lambda key: in_base64(key, "~~~").replace("/", "\\/"),
]


def secrets_in(text: str, key: str) -> list[str]:
    """Return what a reader of a text gets of a key: itself, or what its base64 decodes to."""
    for _ in range(3):
        text = text.replace("\\/", "/").replace("\\u00", "%").replace("\\", "")
    bare = key.replace("\\", "").replace("\\/", "/")
    found = [form for form in (bare, quote(bare, safe="")) if form in text]
    for word in text.replace("-", "+").replace("_", "/").replace("%2B", "+").split():
        for begin in range(4):
            with suppress(ValueError):
                cut = word[begin : begin + (len(word) - begin) // 4 * 4]
                if key.encode() in base64.b64decode(cut):
                    found.append(word)
    return found


@pytest.mark.parametrize("key", [KEY, OTHER, ODD])
@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_key_is_blotted_out_however_it_is_spelt(key: str, spell: Callable[[str], str]) -> None:
    text = f"I was sent {spell(key)} with it, and 24 - 5 = 19."
    for redact in (OwnKeys([key]).redact, OwnKeys([OTHER, key]).redact_error):
        clean = redact(text)
        assert "***" in clean and not secrets_in(clean, key)
        assert clean.startswith("I was sent ") and clean.endswith("with it, and 24 - 5 = 19.")


def test_base64_of_any_key_at_any_place_is_found() -> None:
    draw = random.Random(0)
    for _ in range(100):
        key = "".join(chr(draw.randrange(33, 127)) for _ in range(draw.randrange(12, 60)))
        text = in_base64(key, "x" * draw.randrange(7), "y" * draw.randrange(7))
        assert not secrets_in(OwnKeys([key]).redact(f"a {text} b"), key)


@pytest.mark.parametrize(
    "text",
    [
        r"由 $f(x) = \frac{x^2}{2}$ 得 50%, \u00d7 \/ %20 or 5%3 = 2",
        "The key is a, and EMPTY is the set.",
        '{"a": "\\u00e9\\/"}',
        "c2stcHJvai1", "sk-proj", "",
    ],
)  # fmt: skip
def test_other_texts_stay_as_they_are(text: str) -> None:
    keys = OwnKeys([KEY, OTHER, "a", "EMPTY", "token", "1234567", "12345678", "abcdefghijk"])
    assert keys.redact(text) == text
    body = json.dumps({"text": text, "n": [1.5, 12345678, None]}).encode()
    assert keys.redact_body(body, is_error=False) is body
    assert OwnKeys().redact_error(text) == text


@pytest.mark.parametrize(
    ("key", "in_reply", "in_error"),
    [
        ("EMPTY", "EMPTY xEMPTYx", "*** xEMPTYx"),
        ("none", "none xnonex", "*** xnonex"),
        ("a", "a xax", "*** xax"),
        ("12345678", "12345678 x12345678x", "*** x12345678x"),
        ("sk-7", "sk-7 xsk-7x", "*** x***x"),
        ("sk-s3cret", "*** xsk-s3cretx", "*** x***x"),
        ("sk-s3cret-12", "*** x***x", "*** x***x"),
    ],
)
def test_a_short_key_is_no_part_of_a_models_words(key: str, in_reply: str, in_error: str) -> None:
    text = f"{key} x{key}x"
    assert OwnKeys([key]).redact(text) == in_reply
    assert OwnKeys([key]).redact_error(text) == in_error


def test_a_short_key_beside_other_letters_is_a_word() -> None:
    text = "密钥sk-s3cret是"
    assert OwnKeys(["sk-s3cret"]).redact(text) == "密钥***是"
    body = json.dumps({"a": text}, ensure_ascii=False).encode()
    assert json.loads(OwnKeys(["sk-s3cret"]).redact_body(body, is_error=False)) == {
        "a": "密钥***是"
    }


def test_a_text_of_backslashes_takes_no_longer_than_others() -> None:
    """It is searched in time that grows with its length, or this test does not end."""
    text = "\\" * 500_000 + "u006"
    assert OwnKeys([KEY, ODD]).redact(text) == text


def test_json_stays_json() -> None:
    """Also where the letter of an escape and what follows spell a key."""
    key = "nvapi-0123456789"
    value = {key: [f"\n{key}", 5, 1e300, None, True], "é": "\n\ud800" + key[1:], "n": 123456789012}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        payload = text.encode("utf-8", errors="surrogatepass")
        clean = OwnKeys([key, "123456789012"]).redact_body(payload, is_error=True)
        found = json.loads(clean)
        assert found["***"] == ["\n***", 5, 1e300, None, True] and found["n"] == "***"


@pytest.mark.parametrize(
    "payload", [b"<html>%s</html>", b"\xff%s", b'{"a": "%s', b"[" * 9999 + b"%s"]
)
def test_what_is_no_json_is_cleansed_too(payload: bytes) -> None:
    clean = OwnKeys([KEY]).redact_body(payload.replace(b"%s", KEY.encode()), is_error=False)
    assert clean == payload.replace(b"%s", b"***")


def test_keys_leave_no_trace_in_a_pickle() -> None:
    copied = pickle.dumps(OwnKeys([KEY]))
    assert KEY.encode() not in copied
    assert pickle.loads(copied).redact(KEY) == KEY
    assert KEY not in repr(OwnKeys([KEY]))


def test_the_keys_of_all_roles_and_of_proxies_are_ours(
    options: SetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the default names, by named variables, in further keys of a body, in proxies."""
    made = {f"RLKD_{role}_API_KEY": f"key-of-{role}-0123" for role in ("GSRM", "EMBED", "STUDENT")}
    made |= {"RLKD_JUDGE_API_KEY_ENV": "MINE", "MINE": "key-of-mine-0123\n"}
    made |= {"RLKD_VERIFIER_BODY": '{"a": [{"x_api_key": "body-key-0123"}], "b": "sk-body-4567"}'}
    made |= {"HTTPS_PROXY": "http://me:proxy%2Dpass-01@p:8080", "ALL_PROXY": "u:other-pass-02@p"}
    made |= {"NAMED": "key-of-eval-0123", "RLKD_GSRM_BODY": "{broken", "HTTP_PROXY": "http://[::1"}
    made |= {"rlkd_generator_api_key_env": "SMALL", "SMALL": "key-in-small-letters"}
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    keys = own_keys("NAMED")
    for key in (
        *("key-of-GSRM-0123", "key-of-EMBED-0123", "key-of-STUDENT-0123", "key-of-mine-0123"),
        *("body-key-0123", "sk-body-4567", "proxy-pass-01", "proxy%2Dpass-01", "other-pass-02"),
        *("key-of-eval-0123", "key-in-small-letters"),
    ):
        assert keys.redact(f"({key})") == "(***)"


# --- over HTTP ---


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.01))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the server that is asked, and that of another role."""
    monkeypatch.setenv("RLKD_JUDGE_API_KEY", KEY)
    monkeypatch.setenv("RLKD_GSRM_API_KEY", OTHER)


ECHO = f"{KEY} and {OTHER}, {in_base64(OTHER, 'user:')}"


def client_of(url: str) -> ChatClient:
    endpoint = Endpoint("judge", (url,), "m", "RLKD_JUDGE_API_KEY")
    return ChatClient(
        endpoint, request_timeout=5.0, patience=0.02, startup_patience=0.02, usage=Usage()
    )


def ask(url: str) -> Any:
    async def run() -> Any:
        async with client_of(url) as client:
            return await client.complete([{"role": "user", "content": "hello"}])

    return asyncio.run(run())


def completion(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, **choice}]}


def is_clean(text: str) -> bool:
    return not any(secrets_in(text, key) for key in (KEY, OTHER))


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "reply",
    [
        completion({"content": f"say {ECHO} yes"}),
        completion({"content": [{"type": "text", "text": part} for part in (ECHO[:9], ECHO[9:])]}),
        completion({"content": "yes ***", "reasoning_content": ECHO}),
        completion({"content": [{"type": "thinking", "thinking": ECHO}, "***"]}),
        completion({"content": "***"}, finish_reason=f"stop {ECHO}"),
        completion(
            {"content": "***"},
            logprobs={
                "content": [{"token": ECHO, "top_logprobs": [{"token": KEY, "logprob": -1}]}]
            },
        ),
    ],
)
def test_a_reply_holds_no_key(reply: dict[str, Any]) -> None:
    with serving(lambda *_: (200, reply)) as url:
        found = ask(f"{url}/v1")
    assert "***" in repr(found) and is_clean(repr(found))


BODIES = [{"error": {"message": ECHO}}, ECHO, [ECHO], {ECHO: ECHO}, {"code": 400, "m": ECHO}]


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "status", [200, 400, 401, 402, 403, 404, 407, 413, 418, 422, 429, 500, 503]
)
def test_an_error_holds_no_key(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a warning of a retry; whatever the status, also of what is no completion."""
    bodies: list[Any] = []
    with serving(lambda *_: (status, bodies[-1])) as url:
        for body in BODIES:
            bodies.append(body)
            with pytest.raises(EndpointError) as error:
                ask(f"{url}/v1")
            assert "***" in str(error.value) and is_clean(str(error.value) + caplog.text)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "head", [f"HTTP/1.1 200 OK\r\nX bad {OTHER}\r\n\r\n", f"HTTP/9 {OTHER}\r\n\r\n", f"{OTHER}\r\n"]
)
def test_a_broken_header_shows_no_key(head: str) -> None:
    with raw_server(head.encode()) as url, pytest.raises(EndpointError) as error:
        ask(url)
    assert "failed for" in str(error.value) and is_clean(str(error.value))


@pytest.mark.usefixtures("keys")
def test_embeddings_and_cards_show_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 200, {"data": [{"id": "m", "root": f"/x/{OTHER}", "revision": KEY}]}
        return 200, {"data": [{"index": 0, "embedding": [ECHO]}]}

    with serving(answer) as url:

        async def embed() -> None:
            async with client_of(f"{url}/v1") as client:
                await client.embed(["a"])

        with pytest.raises(EndpointError) as error:
            asyncio.run(embed())
        assert "***" in str(error.value) and is_clean(str(error.value))
        endpoint = Endpoint("judge", (f"{url}/v1",), "m", "RLKD_JUDGE_API_KEY")
        (card,) = asyncio.run(ask_cards(endpoint)).values()
    assert (card.root, card.revision) == ("/x/***", "***")


@pytest.mark.usefixtures("keys")
def test_a_client_that_was_used_pickles_without_its_keys() -> None:
    with serving(lambda *_: (200, completion({"content": "yes"}))) as url:
        client = client_of(f"{url}/v1")

        async def use() -> bytes:
            async with client:
                await client.complete([{"role": "user", "content": "hello"}])
                return pickle.dumps(client._servers)

        copied = asyncio.run(use())
    assert KEY.encode() not in copied and OTHER.encode() not in copied


# --- the commands ---

ROLES = {
    "GENERATOR": "sk-generator-0123456789",
    "VERIFIER": "sk-verifier-0123456789",
    "STUDENT": "sk-student-0123456789",
}
SAID = " ".join([*ROLES.values(), *(in_base64(key, "user:") for key in ROLES.values())])


def holds_no_key(text: str) -> bool:
    return not any(secrets_in(text, key) for key in ROLES.values())


def written(folder: Path) -> str:
    return "\n".join(file.read_text("utf-8") for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def roles(options: SetOptions) -> Callable[[str], None]:
    """Name one server for all roles, each with a key of its own."""

    def name(url: str) -> None:
        for role, key in ROLES.items():
            values = {"base_url": f"{url}/v1", "model": role, "api_key": key}
            options(**{f"{role.lower()}_{option}": value for option, value in values.items()})
        options(startup_patience=0, patience=0)

    return name


def test_a_verifiers_key_reaches_neither_the_generator_nor_a_file(
    roles: Callable[[str], None], tmp_path: Path
) -> None:
    asked: list[str] = []

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append(json.dumps(body))
        text = f"{STRUCTURE}\n{SAID}" if body["model"] == "GENERATOR" else f"FAIL: {SAID}"
        return 200, completion({"content": text, "reasoning_content": SAID}, finish_reason="stop")

    row = {"problem": "How many?", "domain": "math", "reasoning_path": "She has 2 + 3 = 5 pens."}
    source = write(tmp_path / "rows.jsonl", [row])
    with serving(answer) as url:
        roles(url)
        done = CliRunner().invoke(app, ["construct", str(source), str(tmp_path / "out.jsonl")])
    feedback = [body for body in asked if "***" in body]
    assert feedback and holds_no_key("\n".join(asked))
    assert "***" in written(tmp_path) and holds_no_key(written(tmp_path) + done.output)


@pytest.mark.parametrize("status", [401, 500])
def test_no_command_prints_a_key(status: int, roles: Callable[[str], None], tmp_path: Path) -> None:
    row = {"problem": "How many?", "domain": "math", "reasoning_path": "She has 2 + 3 = 5 pens."}
    source = write(tmp_path / "rows.jsonl", [row])
    with serving(lambda *_: (status, {"error": SAID})) as url:
        roles(url)
        done = CliRunner().invoke(app, ["construct", str(source), str(tmp_path / "out.jsonl")])
    assert done.exit_code == 1 and "***" in done.output
    assert holds_no_key(done.output + written(tmp_path))


def test_responses_that_are_drawn_hold_no_key(
    roles: Callable[[str], None], options: SetOptions, tmp_path: Path
) -> None:
    """Here the GSRM fails afterwards: the responses are in their file."""

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/embeddings"):  # they pass the check, before a response is drawn
            vectors = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]
            return 200, {"data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)]}
        if body.get("model") != "STUDENT":
            return 401, {"error": SAID}
        return 200, completion({"content": SAID, "reasoning_content": SAID}, finish_reason=SAID)

    source = write(tmp_path / "rows.jsonl", [{"problem": "How many?", "domain": "math"}])
    with serving(answer) as url:
        roles(url)
        for role in ("gsrm", "embed"):
            options(**{f"{role}_base_url": f"{url}/v1", f"{role}_model": role})
        words = ["diversity", str(tmp_path / "out"), str(source), "--samples", "2", "--count", "1"]
        done = CliRunner().invoke(app, words)
    responses = (tmp_path / "out" / "responses.jsonl").read_text("utf-8")
    assert "***" in responses and holds_no_key(written(tmp_path) + done.output)
    assert os.environ["RLKD_STUDENT_API_KEY"] == ROLES["STUDENT"]
