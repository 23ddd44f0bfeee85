"""The callback `rlkd_snapshots`: keeps the model at chosen steps, for Figures 4 and 5.

`save_total_limit` bounds the checkpoints that a run can resume from, 107 GB each at 7B; a snapshot
(`rlkd_data.snapshots`) holds the weights alone, 15 GB, and is never deleted. A snapshot that fails
does not end the run. It is logged, and retried at each save while the checkpoint exists.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from swift.callbacks import TrainerCallback
from swift.trainers import Trainer, TrainingArguments
from swift.utils import get_logger
from transformers import TrainerControl, TrainerState

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.rlkd_data.snapshots import (
    SNAPSHOTS,
    TRAINER_STATE,
    set_aside,
    snapshot_of,
    take_snapshot,
    unshare_weights,
)

SETTING = "RLKD_SNAPSHOT_STEPS"

logger = get_logger()


class RlkdSnapshots(TrainerCallback):
    """`--callbacks rlkd_snapshots`: a snapshot at each step of `RLKD_SNAPSHOT_STEPS`."""

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        self.steps = load_settings().snapshot_steps
        self.begun_at = 0
        if self.steps:
            _check_saving(args)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that the coming steps are saved; take the snapshots that a resumed run lacks.

        Raises:
            RlkdError: if ms-swift saves no checkpoint at one of the steps.
        """
        if not self.steps:
            return
        self.begun_at = state.global_step
        ahead = [step for step in self.steps if step > self.begun_at]
        _check_steps(ahead, int(state.save_steps), state.max_steps)
        if not state.is_world_process_zero:
            return
        if beyond := [step for step in self.steps if step > state.max_steps]:
            logger.warning(
                f"rlkd: {SETTING} names {_join_steps(beyond)}, but the run ends at step "
                f"{state.max_steps}: there will be no such snapshot"
            )
        _set_aside(Path(str(args.output_dir)), state.global_step)
        if args.resume_from_checkpoint:
            resumed = Path(args.resume_from_checkpoint).resolve()
            if resumed.parent.name != SNAPSHOTS:
                self._take_missing(resumed.parent, state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Protect the snapshot of a checkpoint that is about to be saved again."""
        if self.steps and state.is_world_process_zero and control.should_save:
            unshare_weights(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the snapshot of this step, if it is listed, and those that failed before."""
        if not (self.steps and state.is_world_process_zero):
            return
        run = Path(str(args.output_dir))
        if state.global_step in self.steps:
            _take(run / f"checkpoint-{state.global_step}")
        self._take_missing(run, state.global_step - 1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Warn of the steps of this run without a snapshot."""
        if not (self.steps and state.is_world_process_zero):
            return
        run, due = Path(str(args.output_dir)), range(self.begun_at + 1, state.global_step + 1)
        missing = [
            step
            for step in self.steps
            if step in due and not snapshot_of(run / f"checkpoint-{step}").is_dir()
        ]
        if missing:
            logger.warning(f"rlkd: the run has no snapshot of {_join_steps(missing)}")

    def _take_missing(self, run: Path, last: int) -> None:
        """Take missing snapshots up to a step, where the checkpoint still exists."""
        for step in self.steps:
            checkpoint = run / f"checkpoint-{step}"
            is_whole = step <= last and (checkpoint / TRAINER_STATE).is_file()
            if is_whole and not snapshot_of(checkpoint).is_dir():
                _take(checkpoint)


def _set_aside(run: Path, step: int) -> None:
    """Move away an earlier run's snapshots of later steps (`--add_version false`)."""
    name = f"before-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        moved = set_aside(run, step, name)
    except OSError as error:
        logger.warning(
            f"rlkd: the snapshots of an earlier run in {run / SNAPSHOTS} cannot be moved "
            f"({error}); move them yourself"
        )
        return
    if moved:
        logger.warning(
            f"rlkd: this run is at step {step}; an earlier run's snapshots of {_join_steps(moved)} "
            f"were moved to {run / SNAPSHOTS / name}"
        )


def _take(checkpoint: Path) -> None:
    try:
        logger.info(f"rlkd: snapshot {take_snapshot(checkpoint)}")
    except (RlkdError, OSError) as error:
        logger.warning(
            f"rlkd: no snapshot of {checkpoint.name}: {error}; the run continues, and retries at "
            f"each save while {checkpoint} exists"
        )


def _check_saving(args: TrainingArguments) -> None:
    """Check that whole weights are saved, by steps, before the model is loaded.

    Raises:
        RlkdError: if not.
    """
    if args.save_strategy != "steps":
        raise RlkdError(
            f"{SETTING} needs --save_strategy steps; it is "
            f"{getattr(args.save_strategy, 'value', '')}"
        )
    if getattr(args, "use_flash_ckpt", False):
        raise RlkdError(
            f"{SETTING} needs checkpoints that are written when they are saved: remove "
            "--use_flash_ckpt true"
        )
    config = args.deepspeed if isinstance(args.deepspeed, dict) else {}
    zero = config.get("zero_optimization", {})
    if zero.get("stage") == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise RlkdError(
            f"{SETTING} needs whole weights in a checkpoint: set "
            "stage3_gather_16bit_weights_on_model_save to true in the file of --deepspeed"
        )


def _check_steps(steps: Iterable[int], interval: int, last: int) -> None:
    """Check that ms-swift saves at each step: at each multiple of its interval, and at the last.

    Raises:
        RlkdError: if not.
    """
    if never := [step for step in steps if step % interval and step != last]:
        raise RlkdError(
            f"{SETTING} names {_join_steps(never)}, which is never saved: give multiples of "
            f"--save_steps {interval}, or another --save_steps"
        )


def _join_steps(steps: Iterable[int]) -> str:
    return "step " + ", ".join(map(str, steps))
