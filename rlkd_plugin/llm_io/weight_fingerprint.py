"""A fingerprint of a checkpoint's weights, the same for copies and different after training.

It takes milliseconds for 15 GB, as only the head, the end and a part of each tensor are read from a
large file. Not here: which folder a server has loaded (`model_source`).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

WEIGHTS = (
    *("*.safetensors", "*.gguf"),
    *("pytorch_model*.bin", "adapter_model*.bin", "consolidated*.pth"),
)
"""Files with the weights of a model or an adapter, not of an optimizer."""
BESIDE = frozenset(
    {
        *("config.json", "generation_config.json", "adapter_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model"),
        *("chat_template.jinja", "chat_template.json"),
    }
)
"""Other files that affect what a model writes."""
WHOLE = 16 << 20
"""Largest file, in bytes, that is hashed as a whole."""
PART = 4096
"""Bytes hashed of a tensor: about 2,000 weights, some of which training changes."""
PARTS = 512
"""Most parts of a file. A shard of a 7B model has about 80 tensors, one of an MoE thousands."""
ENDS = 1 << 16
"""Bytes hashed at each end of a large file; a PyTorch file ends with checksums of the tensors."""
LONGEST_HEADER = 32 << 20
"""Largest plausible safetensors header, in bytes."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def weight_fingerprint(folder: Path) -> str | None:
    """Return a digest of a folder's weights and other model files.

    It depends on names, sizes and contents, but not on path or time. None if there are no weights,
    or they cannot be read.
    """
    try:
        files = {file.name: file for pattern in WEIGHTS for file in folder.glob(pattern)}
        files = {name: file for name, file in files.items() if file.is_file()}
        if not files:
            return None
        files |= {name: folder / name for name in BESIDE if (folder / name).is_file()}
        digest = hashlib.sha256()
        for name in sorted(files):
            size = files[name].stat().st_size
            digest.update(f"{name} {size}\n".encode("utf-8", "surrogateescape"))
            with files[name].open("rb") as file:
                for begin, length in _parts(file, size):
                    file.seek(begin)
                    digest.update(file.read(length))
    except (OSError, ValueError):
        return None
    return digest.hexdigest()[:16]


def _parts(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Yield begin and length of the parts of a file to hash."""
    if size <= WHOLE:
        yield 0, size
        return
    tensors = _tensors(file, size) or [
        (size * number // PARTS, size * (number + 1) // PARTS) for number in range(PARTS)
    ]
    stride = -(-len(tensors) // PARTS)
    yield 0, max(ENDS, tensors[0][0])  # with a safetensors header: names and shapes
    yield size - ENDS, ENDS
    for begin, end in tensors[::stride]:
        middle = (begin + end) // 2
        yield max(begin, middle - PART // 2), min(PART, end - begin)


def _tensors(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return begin and end of each tensor of a safetensors file; empty for another file."""
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size, LONGEST_HEADER):
        return []
    try:
        header = json.loads(file.read(length))
        found = [
            (8 + length + entry["data_offsets"][0], 8 + length + entry["data_offsets"][1])
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(place for place in found if 8 + length <= place[0] < place[1] <= size)


def folder_of(model: str, *, is_local: bool) -> Path | None:
    """Return the folder of a model on this machine, or None.

    Args:
        model: a path, or a repository's id.
        is_local: whether its server runs on this machine, so that relative paths and the hub's
            cache are the same for the server.
    """
    if not model:
        return None
    try:
        path = Path(model).expanduser()
        if (is_local or path.is_absolute()) and path.is_dir():
            return path
        if is_local and _REPOSITORY.fullmatch(model):
            return _cached_snapshot(model)
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such home
        pass
    return None


def _cached_snapshot(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # half a second, for hub ids alone

    try:
        file = try_to_load_from_cache(repository, "config.json")
    except ValueError:  # not the id of a repository
        return None
    return Path(file).parent if isinstance(file, str) else None


def weights_of(model: str, adapter: str) -> Mapping[str, str]:
    """Return the fingerprints of a model and of its LoRA, if they are folders on this machine."""
    folders = {
        name: folder_of(place, is_local=True)
        for name, place in (("weights", model), ("adapter_weights", adapter))
    }
    found = {name: weight_fingerprint(folder) for name, folder in folders.items() if folder}
    return {name: digest for name, digest in found.items() if digest}
