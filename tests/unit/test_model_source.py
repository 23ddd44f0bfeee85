"""What a GSRM is beside its name: told by its servers, or read from its folder."""

import asyncio
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rlkd_plugin.engines.scoring import Sample, score_batch
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io import weight_fingerprint as fingerprints
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.model_cards import Card, ask_cards, read_card
from rlkd_plugin.llm_io.model_source import ModelSource, local_source, served_source
from rlkd_plugin.llm_io.server_engine import ServerEngine, probe_now
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.llm_io.weight_fingerprint import weight_fingerprint
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from tests.conftest import SetOptions
from tests.support.each import check_each
from tests.support.json_server import serving
from tests.support.loopback import GSRM, JUDGE, Loopback, said

HERE, FAR = "http://127.0.0.1:8001/v1", "http://gsrm-host:8001/v1"
TEACHER = "6 * 4 = 24\n24 - 5 = 19"


def cards(*roots: str | None, **more: Any) -> dict[str, Any]:
    """The reply of a server whose GSRM has this root, and whose judge is there too."""
    judge = {"id": JUDGE, "root": "Qwen/Qwen2.5-7B-Instruct"}
    return {"data": [judge, *({"id": GSRM, "root": root, **more} for root in roots)]}


def checkpoint(folder: Path, seed: int, **files: str) -> Path:
    """A folder with two shards of weights, larger than what is hashed whole in these tests."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    for shard in (1, 2):
        tensors = {f"layer.{n}.weight": torch.randn(64, 64) for n in range(shard * 10)}
        save_file(tensors, folder / f"model-0000{shard}-of-00002.safetensors")
    for name, text in {"config.json": "{}", **files}.items():
        (folder / name).write_text(text)
    return folder


def identity() -> str:
    """The identity of a new engine, as of a run that starts."""
    return ServerEngine(load_settings()).identity


def structures(engine: ServerEngine, cache: Any) -> list[str]:
    """Score a sample; return the answers of the teacher's structure."""

    async def run() -> list[str]:
        async with engine:
            sample = Sample("<think>6 * 4 = 24</think>", "How many?", "math", TEACHER)
            (score,) = await score_batch([sample], engine, cache)
        assert score.teacher.structure is not None
        return [step.answer for step in score.teacher.structure.steps]

    return asyncio.run(run())


# --- another model under the same name ---


def test_another_model_under_the_same_name_has_its_own_structures(servers: Loopback) -> None:
    """The retrained one is asked; the old one's structures are there when it is served again."""
    old = "[Meta-reasoning 1]: plan\n[Sub-problem 1]: what?\n[Answer 1]: {}"
    for root, answer, reads in (("out/gsrm-1", "old", 0), ("out/gsrm-2", "new", 0)):
        servers.models = cards(root)
        servers.always("gsrm", said(old.format(answer)))
        engine, cache = choose_engine(load_settings())
        assert isinstance(engine, ServerEngine) and isinstance(cache, DiskCache)
        probe_now(engine)
        assert structures(engine, cache) == [answer]
        assert (cache.hits, cache.misses, cache.count()) == (reads, 1, 1)
    servers.models = cards("out/gsrm-1")
    engine, cache = choose_engine(load_settings())
    assert isinstance(engine, ServerEngine) and isinstance(cache, DiskCache)
    assert structures(engine, cache) == ["old"]  # also without a probe
    assert (cache.hits, cache.misses, cache.count()) == (1, 0, 1)


def test_weights_that_change_in_their_folder_have_their_own_structures(
    servers: Loopback, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "gsrm", seed=1)
    servers.models = cards(str(folder))
    before = identity()
    assert identity() == before
    checkpoint(folder, seed=2)
    assert identity() != before
    checkpoint(folder, seed=1)
    assert identity() == before


def test_a_folder_may_be_copied(servers: Loopback, tmp_path: Path) -> None:
    servers.models = cards(str(checkpoint(tmp_path / "one", seed=1)))
    before = identity()
    servers.models = cards(str(checkpoint(tmp_path / "other" / "place", seed=1)))
    assert identity() == before


def test_a_lora_is_known_by_its_own_and_its_base_models_place(servers: Loopback) -> None:
    def lora(root: str, base: str) -> str:
        entry = {"id": GSRM, "root": root, "parent": "base"}
        servers.models = {"data": [{"id": "base", "root": base}, entry]}
        return identity()

    found = {lora(root, base) for root in ("lora/1", "lora/2") for base in ("org/a", "org/b")}
    assert len(found) == 4
    assert lora("lora/1", "org/a") in found


@pytest.mark.parametrize("change", [{"gsrm_revision": "2026-11"}, {"gsrm_body": '{"min_p": 0.1}'}])
def test_settings_that_change_a_structure_are_part_of_it(
    servers: Loopback, options: SetOptions, change: dict[str, str]
) -> None:
    before = identity()
    options(**change)
    assert identity() != before


def test_what_changes_with_each_start_is_none_of_it(servers: Loopback) -> None:
    servers.models = cards("org/gsrm", created=1, max_model_len=100, permission=[{"id": "a"}])
    before = identity()
    servers.models = cards("org/gsrm", created=2, max_model_len=200, permission=[{"id": "b"}])
    assert identity() == before


def test_it_is_asked_once_in_a_run(servers: Loopback) -> None:
    """Also where the server tells something else later, and in a copy of the engine."""
    servers.models = cards("org/one")
    engine, cache = choose_engine(load_settings())
    assert isinstance(engine, ServerEngine) and isinstance(cache, DiskCache)
    assert servers.listed == []  # not before it is probed
    probe_now(engine)
    first = engine.identity
    servers.models = cards("org/two")
    probe_now(engine)
    copy = pickle.loads(pickle.dumps((engine, cache)))
    assert {first, engine.identity, cache.identity, copy[0].identity, copy[1].identity} == {first}
    assert len(servers.listed) == 1


def test_a_server_that_does_not_respond_yet_is_asked_again(servers: Loopback) -> None:
    servers.models = cards("org/one")
    engine = ServerEngine(load_settings())
    servers.stop()
    unknown = engine.identity
    servers.start()
    assert engine.identity != unknown
    assert engine.gsrm_source.root == "org/one"


# --- a server that tells nothing, or lies ---

NOTHING = {
    "404": None,
    "no JSON": "<html>",
    "half a JSON": '{"data": [{"id": "gsrm',
    "deep": "[" * 100_000,
    "no object": [1, 2],
    "no list": {"data": {GSRM: "a"}},
    "an empty list": {"data": []},
    "other entries": {"data": [1, None, "gsrm-7b", {"id": 5}, {"root": "x"}]},
    "not listed": {"data": [{"id": "gsrm-8b", "root": "org/gsrm-8b"}]},
    "no root": {"data": [{"id": GSRM}]},
    "a root of null": cards(None),
    "its name as root": cards(GSRM),
    "a root that is no text": {"data": [{"id": GSRM, "root": {"a": 1}}]},
    "two models of one name": cards("org/one", "org/two"),
}


def test_a_server_that_tells_nothing_leaves_the_name(
    servers: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    """One identity for all of these, with a warning each; a revision tells more, and ends it."""
    found = set()

    def check(models: Any) -> None:
        caplog.clear()
        servers.models = models
        engine = ServerEngine(load_settings())
        probe_now(engine)
        found.add(engine.identity)
        assert engine.gsrm_source.is_name_alone
        (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert "set RLKD_GSRM_REVISION" in warning.message and GSRM in warning.message

    check_each(NOTHING, check)
    assert len(found) == 1


def test_a_revision_needs_no_server_that_tells(
    servers: Loopback, options: SetOptions, caplog: pytest.LogCaptureFixture
) -> None:
    options(gsrm_revision="v3")
    servers.models = None
    engine = ServerEngine(load_settings())
    probe_now(engine)
    assert engine.gsrm_source.known_facts == "RLKD_GSRM_REVISION=v3"
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.parametrize(
    "root",
    ["a\0b", "x" * 5000, "/", "~nobody/x", "/dev/null", "\ud800", "a b"],
    ids=["NUL", "long", "root", "home", "device", "surrogate", "space"],
)
def test_an_odd_root_is_a_text_like_any_other(servers: Loopback, root: str) -> None:
    servers.models = cards("org/gsrm")
    before = identity()
    servers.models = cards(root)
    assert identity() != before
    assert identity() == identity()


def test_the_key_is_sent_and_never_told(
    servers: Loopback, options: SetOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that repeats it in its reply too."""
    caplog.set_level("INFO")
    options(gsrm_api_key="sk-secret")
    servers.models = cards("/models/sk-secret/gsrm")
    engine, cache = choose_engine(load_settings())
    assert isinstance(engine, ServerEngine)
    probe_now(engine)
    structures(engine, cache)
    assert servers.listed == ["Bearer sk-secret"]
    kept = [file.read_text("utf-8") for file in tmp_path.rglob("*.json")]
    assert kept and "sk-secret" not in "".join([*kept, caplog.text, repr(engine.gsrm_source)])


# --- several servers ---


def two(one: Any, other: Any, options: SetOptions) -> ServerEngine:
    """An engine with two servers, probed."""
    with Loopback() as first, Loopback() as second:
        first.models, second.models = one, other
        options(gsrm_base_url=f"{first.url},{second.url}")
        engine = ServerEngine(load_settings())
        probe_now(engine)
    return engine


def test_servers_with_different_models_are_refused(servers: Loopback, options: SetOptions) -> None:
    with pytest.raises(RlkdError, match=r"different models as 'gsrm-7b': http.*org/a.*http.*org/b"):
        two(cards("org/a"), cards("org/b"), options)
    options(gsrm_revision="the same")
    assert two(cards("org/a"), cards("org/b"), options).gsrm_source.known_facts.endswith("the same")


def test_servers_with_one_model_agree(
    servers: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    """Of a model in two folders, and where one of them tells nothing."""
    alone = two(cards("org/a"), cards("org/a"), options).identity
    assert two(cards("org/a"), None, options).identity == alone
    one, other = (cards(str(checkpoint(tmp_path / name, seed=1))) for name in ("a", "b"))
    assert two(one, other, options).gsrm_source.fingerprint


# --- other servers ---


def sglang(replies: dict[str, Any]) -> dict[str, Card]:
    """What a server with these replies tells of the model `gsrm`; other places are a 404."""

    with serving(lambda _, path, __: (200 if path in replies else 404, replies.get(path))) as base:
        url = f"{base}/v1"
        return asyncio.run(ask_cards(Endpoint("GSRM", (url,), "gsrm", "RLKD_GSRM_API_KEY")))


@pytest.mark.parametrize("place", ["/model_info", "/get_model_info"])
@pytest.mark.parametrize(("version", "told"), [("default", ""), ("step-300", "step-300")])
def test_sglang_tells_more_elsewhere(place: str, version: str, told: str) -> None:
    """Its `/v1/models` has the name as root; `/model_info` has the path, of older ones too."""
    base = {"id": "gsrm", "root": "gsrm", "owned_by": "sglang"}
    info = {"model_path": "org/gsrm", "weight_version": version}
    (card,) = sglang({"/v1/models": {"data": [base]}, place: info}).values()
    assert card == Card("org/gsrm", "", told)


def test_sglang_may_tell_nothing_more() -> None:
    base = {"id": "gsrm", "root": "gsrm", "owned_by": "sglang"}
    (card,) = sglang({"/v1/models": {"data": [base]}, "/model_info": [1]}).values()
    assert card == Card()


def test_a_card_with_a_revision_is_known_by_it() -> None:
    card, _ = read_card(json.dumps({"data": [{"id": "g", "revision": "abc"}]}), "g")
    assert served_source("g", "", {FAR: card}).known_facts == "version abc"


# --- fingerprints ---


@pytest.fixture(params=[1 << 30, 1 << 10], ids=["whole", "in parts"])
def any_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small and large files: above 1 KB in parts of 64 bytes, with ends of 1 KB."""
    monkeypatch.setattr(fingerprints, "WHOLE", request.param)
    monkeypatch.setattr(fingerprints, "PART", 64)
    monkeypatch.setattr(fingerprints, "ENDS", 1 << 10)


def change_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"rope_theta": 1}')


def change_one_tensor(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    data = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    # the tenth of twenty tensors of 16 KB
    for at in range(header + 9 * 16384, header + 10 * 16384):
        data[at] ^= 1
    file.write_bytes(data)


def change_names(folder: Path) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes().replace(b"layer.3.", b"layer.x."))


def remove_shard(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").unlink()


def add_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")


def add_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


CHANGES: dict[str, Callable[[Path], None]] = {
    change.__name__: change
    for change in (
        *(change_config, change_one_tensor, change_names),
        *(remove_shard, add_adapter, add_chat_template),
    )
}


@pytest.mark.usefixtures("any_size")
def test_a_change_of_the_model_changes_its_fingerprint(tmp_path: Path) -> None:
    before = weight_fingerprint(checkpoint(tmp_path / "before", seed=1))
    assert before is not None

    def check(change: Callable[[Path], None]) -> None:
        folder = checkpoint(tmp_path / change.__name__, seed=1)
        assert weight_fingerprint(folder) == before
        change(folder)
        assert weight_fingerprint(folder) not in (before, None)

    check_each(CHANGES, check)


@pytest.mark.usefixtures("any_size")
def test_what_is_no_part_of_the_model_changes_nothing(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "gsrm", seed=1)
    before = weight_fingerprint(folder)
    for name in ("optimizer.pt", "trainer_state.json", "training_args.bin", "README.md"):
        (folder / name).write_text("another")
    assert weight_fingerprint(folder) == before


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.gguf", "model.safetensors"])
def test_weights_of_any_format_have_one(tmp_path: Path, name: str) -> None:
    """Also bytes that are called safetensors and are none."""
    file = tmp_path / name
    found = set()
    for content in (b"a" * 100_000, b"b" * 100_000, b"a" * 100_001, b"\x08" + b"\0" * 100_000):
        file.write_bytes(content)
        found.add(weight_fingerprint(tmp_path))
    assert len(found) == 4 and None not in found


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert weight_fingerprint(tmp_path) is None
    assert weight_fingerprint(tmp_path / "missing") is None


def test_a_relative_path_is_a_local_servers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "out" / "gsrm", seed=1)
    monkeypatch.chdir(tmp_path)
    card = Card("out/gsrm")
    assert served_source("gsrm", "", {HERE: card}).fingerprint
    assert not served_source("gsrm", "", {FAR: card}).fingerprint


def test_a_model_in_this_process_is_known_by_its_folder(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "gsrm", seed=1)
    assert local_source(str(folder), "").fingerprint == weight_fingerprint(folder)
    assert local_source("small org/model 12ab without repeats", "").is_name_alone


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ModelSource("gsrm"), "another model under this name would read its structures"),
        (ModelSource("gsrm", root="org/gsrm"), "retrained in this place is not noticed"),
        (ModelSource("gsrm", root="/g", fingerprint="12ab"), "identified by /g (weights 12ab)"),
        (ModelSource("gsrm", "v3"), "identified by RLKD_GSRM_REVISION=v3"),
    ],
)
def test_it_says_what_identifies_it(source: ModelSource, words: str) -> None:
    assert words in source.describe()


def test_a_proxy_that_cannot_be_used_is_a_fault_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:secret@proxy:1080")
    url = "http://gsrm.example:8001/v1"
    card = asyncio.run(ask_cards(Endpoint("GSRM", (url,), "gsrm", "RLKD_GSRM_API_KEY")))[url]
    assert "HTTP_PROXY" in card.fault and "secret" not in card.fault
    assert not card.is_reply  # asked again once there is one
