"""Loads a sentence-transformers model from a folder or a hub as its card says, or rejects it.

sentence-transformers reports none of these: it guesses the pooling where no file names it, loads
the stock class of a model whose files name a custom class, and fills missing weights with random
numbers. Not here: whether the embeddings mean anything (`embedding_check`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlkd_plugin.gsrm import RlkdError

OPTION = "--trust-remote-code"
"""The option that allows a model's own code."""
MODULES = "modules.json"
"""The file that names a model's modules: transformer, pooling, normalisation."""
OTHERS = "a model without code of its own, such as Qwen/Qwen3-Embedding-0.6B"

_INSTALL = (
    "a local embedding model needs the package sentence-transformers "
    "(pip install 'rlkd_plugin[embed]'); or name a server in RLKD_EMBED_BASE_URL"
)


def own_code(model: str) -> list[str]:
    """Return the custom classes that a model names; only the code that comes with it has them.

    Args:
        model: a folder, or an id on the hub.

    Raises:
        RlkdError: if sentence-transformers is missing, there is no such model, or no file names its
            pooling.
    """
    modules = _read(model, MODULES)
    if modules is None:
        raise RlkdError(
            f"{model} has no {MODULES}, which says how a sentence-transformers model pools its "
            "tokens: there is no such model, or it is a plain language model, whose embeddings "
            "would be noise. Name an embedding model, for example Qwen/Qwen3-Embedding-0.6B, or "
            "write the file as docs/downloads.md says"
        )
    try:
        types = [str(module["type"]) for module in modules]
        folders = {str(module["path"]) for module in modules[:1]} | {""}
    except (TypeError, KeyError) as error:
        raise RlkdError(f"{model}: {MODULES} is not a list of modules: {error!r}") from None
    found = [name for name in types if not name.startswith("sentence_transformers.")]
    for folder in sorted(folders):
        for name in ("config.json", "tokenizer_config.json"):
            config = _read(model, f"{folder}/{name}" if folder else name)
            found += _names_of(config.get("auto_map") if isinstance(config, dict) else None)
    return list(dict.fromkeys(found))


def load_model(model: str, *, remote_code: bool) -> Any:
    """Return a loaded `SentenceTransformer`.

    It has the saved number format (bfloat16 where the card asks for it), but float32 on a CPU,
    where 16 bits are slow. It has no KV cache: encoding needs none, and code written before
    transformers 4.56 uses another form of it.

    Args:
        model: a folder, or an id on the hub.
        remote_code: whether its own code runs.

    Raises:
        RlkdError: if it cannot be loaded, or lacks weights.
    """
    with _translate_errors(f"{model} cannot be loaded", remote_code):
        loaded = _package().SentenceTransformer(
            model,
            trust_remote_code=remote_code,
            model_kwargs={"torch_dtype": "auto"},
            config_kwargs={"use_cache": False},
        )
        missing = _missing_weights(loaded, model)
    if missing:
        raise RlkdError(
            f"{model}: {len(missing)} weights are not in its files, and would be random: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}. Fetch the model again, "
            f"or name another one"
        )
    return loaded.float() if loaded.device.type == "cpu" else loaded


@contextmanager
def _translate_errors(what: str, remote_code: bool) -> Iterator[None]:
    """Turn any error of the body into an `RlkdError`; a model's own code may raise anything."""
    try:
        yield
    except RlkdError:
        raise
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        remedy = (
            f". Its own code ran with {OPTION}, and may be written for another version of "
            f"transformers: serve the model (RLKD_EMBED_BASE_URL), or name {OTHERS}"
        )
        raise RlkdError(f"{what}: {words}{remedy if remote_code else ''}") from None


def _missing_weights(loaded: Any, model: str) -> list[str]:
    """Return the weights of the transformer that its files lack, except those of an unused pooler.

    The lists of names are compared; no weight is read.
    """
    transformer = getattr(loaded[0], "auto_model", None)
    if transformer is None:  # a model of word vectors, for example
        return []
    folder = str(_read(model, MODULES)[0]["path"])
    _, report = type(transformer).from_pretrained(
        model,
        config=transformer.config,
        subfolder=folder,
        device_map="meta",
        output_loading_info=True,
    )
    lost = {*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])}
    return sorted(name for name in lost if "pooler" not in name.split("."))


def _names_of(auto_map: Any) -> Iterator[str]:
    """Yield the classes that an `auto_map` names; a tokenizer has two, or None."""
    for value in auto_map.values() if isinstance(auto_map, Mapping) else ():
        yield from (name for name in (value if isinstance(value, list) else [value]) if name)


def _read(model: str, name: str) -> Any:
    """Return the content of a model's JSON file; None if there is no such file."""
    with _translate_errors(f"{model}: {name} cannot be read", remote_code=False):
        path = _package().util.load_file_path(model, name)
        if path is None:
            return None
        with open(path, encoding="utf-8") as file:
            return json.load(file)


def _package() -> Any:
    try:
        import sentence_transformers  # pyright: ignore[reportMissingImports]  # optional
    except ImportError:
        raise RlkdError(_INSTALL) from None
    return sentence_transformers
