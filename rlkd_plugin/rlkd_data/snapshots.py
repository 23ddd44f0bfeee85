"""A snapshot: what a checkpoint needs to be served, kept when the checkpoint itself is deleted.

It has the weights or the adapter, config, tokenizer, chat template and arguments, but nothing to
resume from: no optimizer, scheduler or random state. Not here: when one is taken
(`swift_hooks.snapshots`), and how a run's are found (`rlkd_eval.run_models`).
"""

import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.weight_fingerprint import WEIGHTS

SNAPSHOTS = "snapshots"
"""The folder of a run's snapshots, in the run's own folder."""
TRAINER_STATE = "trainer_state.json"
"""The file that Transformers writes last into a checkpoint, before it deletes older ones."""
RESUME_STATE = (
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "training_args.bin",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
    "pytorch_model_fsdp_*",
    "*.distcp",
)
"""Patterns of the files that Transformers, DeepSpeed and FSDP save to resume from."""


def checkpoint_step(folder: Path) -> int | None:
    """Return N of a folder `checkpoint-N`, else None."""
    found = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(found[1]) if found else None


def holds_weights(folder: Path) -> bool:
    """Return whether a folder holds the weights of a model or of an adapter."""
    return any(file.is_file() for pattern in WEIGHTS for file in folder.glob(pattern))


def snapshot_of(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's snapshot."""
    return checkpoint.parent / SNAPSHOTS / checkpoint.name


def take_snapshot(checkpoint: Path) -> Path:
    """Keep a checkpoint's model in `snapshots`; it replaces an older one of the same step.

    Weights are hard links where the file system has them: they take no disk space while the
    checkpoint exists, and stay when it is deleted. Everything else is copied, so that an edit of a
    config changes only one of the two. Call `unshare_weights` before you save into the checkpoint
    again. The snapshot gets its final name when it is complete.

    Args:
        checkpoint: a completely written folder.

    Returns:
        The snapshot's folder.

    Raises:
        OSError: if it cannot be written; then no part of it is left.
        RlkdError: if the checkpoint holds no weights.
    """
    if not holds_weights(checkpoint):
        raise RlkdError(f"{checkpoint} holds no weights ({', '.join(WEIGHTS)})")
    kept = snapshot_of(checkpoint)
    part, old = (kept.with_name(f".{kept.name}.{end}") for end in ("part", "old"))
    for left in (part, old):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    try:
        shutil.copytree(
            checkpoint,
            part,
            ignore=shutil.ignore_patterns(*RESUME_STATE),
            copy_function=_link_or_copy,
        )
        if kept.exists():
            kept.rename(old)
        part.rename(kept)
    except shutil.Error as error:  # it lists every file that failed; the first is enough
        raise OSError(error.args[0][0][2]) from None
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
    return kept


def unshare_weights(checkpoint: Path) -> None:
    """Remove weights that a snapshot shares from a checkpoint that will be saved again.

    safetensors before 0.8, and PyTorch, write into an existing file: the snapshot would change
    through the link, and a kill would leave it half written.
    """
    for pattern in WEIGHTS:
        for saved in checkpoint.glob(pattern):
            if saved.stat().st_nlink > 1:  # in its snapshot, or in one that was set aside
                saved.unlink()


def set_aside(run: Path, last: int, name: str) -> list[int]:
    """Move a run's snapshots after a step into a folder, as the run will reach the steps again.

    Args:
        run: the folder of the run.
        last: the step.
        name: of the new folder, inside the snapshots' folder.

    Returns:
        The steps of the snapshots that were moved.

    Raises:
        OSError: if they cannot be moved.
    """
    moved: list[int] = []
    for kept in (run / SNAPSHOTS).glob("checkpoint-*/"):
        step = checkpoint_step(kept)
        if step is not None and step > last:
            (kept.parent / name).mkdir(exist_ok=True)
            kept.rename(kept.parent / name / kept.name)
            moved.append(step)
    return sorted(moved)


def _link_or_copy(source: str, target: str) -> None:
    """Link a file of weights where the file system allows it; copy any other file."""
    if any(fnmatch(Path(source).name, pattern) for pattern in WEIGHTS):
        try:
            os.link(source, target)
            return
        except OSError:  # no links here, or another fault, which the copy raises
            pass
    shutil.copy2(source, target)
