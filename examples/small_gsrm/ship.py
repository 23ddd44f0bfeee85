"""Writes trained adapters in the form that the plugin ships: bfloat16, no local paths.

    python -m examples.small_gsrm.ship OUT [--to rlkd_plugin/swift_hooks/local/small_gsrm]

Reads the last checkpoints of `OUT/gsrm` and `OUT/judge`, and writes `OUT/adapters`; with `--to` the
GSRM alone, into that folder.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONFIG_KEYS = ("peft_type", "task_type", "r", "lora_alpha", "target_modules", "bias", "use_rslora")


def last_checkpoint(run: Path) -> Path:
    """Return the last checkpoint of a training."""
    found = sorted(run.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    if not found:
        raise SystemExit(f"there is no checkpoint in {run}")
    return found[-1]


def ship(checkpoint: Path, folder: Path) -> None:
    """Write one adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_file(checkpoint / "adapter_model.safetensors")
    file = folder / "adapter_model.safetensors"
    save_file({name: w.to(torch.bfloat16).contiguous() for name, w in weights.items()}, file)
    config = json.loads((checkpoint / "adapter_config.json").read_text("utf-8"))
    kept = {"base_model_name_or_path": BASE}
    kept |= {name: config[name] for name in CONFIG_KEYS}
    if isinstance(kept["target_modules"], list):
        kept["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    print(f"{checkpoint} -> {file}, {file.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Write both adapters, or the GSRM's into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    if options.to:
        ship(last_checkpoint(options.out / "gsrm"), options.to)
        return
    for name in ("gsrm", "judge"):
        ship(last_checkpoint(options.out / name), options.out / "adapters" / name)


if __name__ == "__main__":
    main()
