"""The callback `rlkd_structured`: the phases of structured fine-grained training (section 3.1).

Before each optimizer step it masks the labels of tokens outside the epoch's phase, so that ms-swift
computes no logits for them where it can (batch size 1, packing, padding_free), and counts the
tokens of each set over all micro-batches and ranks. It updates a and b, logs, and saves its state
in `trainer_state.json`.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from swift.callbacks import TrainerCallback
from swift.metrics import Metric
from swift.trainers import Trainer, TrainingArguments
from swift.utils import get_logger
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import ExportableState

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.phases import Phase, PhaseWeights
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.structured.checks import check_rows, check_steps
from rlkd_plugin.swift_hooks.structured.loss import mask_to
from rlkd_plugin.swift_hooks.structured.step import StructuredTrainer
from rlkd_plugin.swift_hooks.structured.tokens import META, SOLVE

PHASE_CODES: dict[Phase, tuple[float, ...]] = {
    "meta": (META,),
    "solve": (SOLVE,),
    "mixed": (META, SOLVE),
}
"""Codes of the token sets that each phase learns."""

STEPS = "steps an epoch"
"""Name in a checkpoint's state of the number of optimizer steps in an epoch."""

logger = get_logger()


class RlkdStructured(TrainerCallback, ExportableState):
    """`--callbacks rlkd_structured`, with the loss and the loss scale of the same name."""

    trainer: StructuredTrainer

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        self.settings = load_settings()
        self.phases = self.settings.phases
        self.phase: Phase = self.phases[0]
        self.epoch_steps = 1
        self.weights = self._fresh_weights()
        trainer.get_batch_samples = partial(self.batch_samples, trainer.get_batch_samples)

    def _fresh_weights(self) -> PhaseWeights:
        return PhaseWeights(self.settings.mix_a, self.settings.mix_b, self.settings.phase_interval)

    def _frame(self) -> dict[str, Any]:
        """Return the settings that a run and the checkpoint that it resumes from must share."""
        return {
            "RLKD_PHASES": ",".join(self.phases),
            "RLKD_PHASE_INTERVAL": self.settings.phase_interval,
            "RLKD_MIX_A": self.settings.mix_a,
            "RLKD_MIX_B": self.settings.mix_b,
            STEPS: self.epoch_steps,
        }

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this run, for `trainer_state.json`."""
        saved = {"frame": self._frame(), "weights": self.weights.to_dict()}
        return {"args": {}, "attributes": {"saved": saved}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check all rows, and restore the state of the checkpoint that the run resumes from.

        Raises:
            RlkdError: if a row is not a structure, the steps do not fit the phases, or the
                checkpoint is of another run.
        """
        self.epoch_steps = check_steps(args, kwargs["train_dataloader"], len(self.phases))
        check_rows("train_dataset", self.trainer.train_dataset)
        check_rows("eval_dataset", self.trainer.eval_dataset)
        self.weights = self._fresh_weights()
        name = type(self).__name__
        # annotated as the list of callbacks of which Transformers makes this dictionary
        states = cast("dict[str, dict[str, Any]]", state.stateful_callbacks)
        if state.global_step:
            if args.ignore_data_skip and state.global_step % self.epoch_steps:
                raise RlkdError(
                    f"--ignore_data_skip true would restart the epoch of step {state.global_step}, "
                    "and the run would end within the last phase: remove it"
                )
            self._restore(states.get(name), state.global_step)
        # Transformers looks up this name when it saves, and a foreign checkpoint has none
        states[name] = self.state()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the epoch's phase, before its first batch is fetched."""
        epoch = state.global_step // self.epoch_steps
        self.phase = self.phases[min(epoch, len(self.phases) - 1)]
        self.weights.begin(self.phase)
        a, b = self.trainer.rlkd_step.weights = self.weights.of(self.phase)
        logger.info(f"rlkd: phase {self.phase}: weights a = {a:.6f}, b = {b:.6f}")

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the phase.

        Raises:
            RlkdError: if no step of it had a token to learn.
        """
        self.weights.check(self.phase)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sum the step's losses over the ranks, log them, and update a and b."""
        step = self.trainer.rlkd_step
        local = torch.stack(step.losses).sum(0)
        step.losses.clear()
        # gathered and summed in one order, so that a and b are the same on every rank
        both = self.trainer.accelerator.gather(local).view(-1, 2).cpu().double().sum(0).tolist()
        meta, solve = (
            loss if count else None for loss, count in zip(both, step.tokens, strict=True)
        )
        self._log(meta, solve)
        self.weights.record(self.phase, meta, solve)
        step.weights = self.weights.of(self.phase)

    def _log(self, meta: float | None, solve: float | None) -> None:
        metrics = self.trainer.custom_metrics["train"]
        step = self.trainer.rlkd_step
        for name, value in (("loss_meta", meta), ("loss_solve", solve)):
            if value is not None and math.isfinite(value):
                metrics[name].update(value)
        for name, count in zip(("tokens_meta", "tokens_solve"), step.tokens, strict=True):
            metrics[name].update(float(count))
        metrics["phase"] = Latest(float(list(PHASE_CODES).index(self.phase) + 1))
        if self.phase == "mixed":
            metrics["a"], metrics["b"] = map(Latest, step.weights)

    def _restore(self, checkpoint: dict[str, Any] | None, step: int) -> None:
        if checkpoint is None:
            if step >= self.epoch_steps:
                raise RlkdError(
                    "the checkpoint has no state of rlkd_structured, and phase "
                    f"{step // self.epoch_steps + 1} needs the losses of the phases before it; "
                    "resume from a checkpoint of such a run, or train from the start"
                )
            logger.warning(
                "rlkd: the checkpoint has no state of rlkd_structured: L1 is summed from this step"
            )
            return
        saved = checkpoint["attributes"]["saved"]
        for name, value in self._frame().items():
            if saved["frame"].get(name) != value:
                raise RlkdError(
                    f"the checkpoint is of a run with {name}={saved['frame'].get(name)}, this one "
                    f"has {value}: give the value that it was trained with"
                    + (" (data, devices, batch size and accumulation)" if name == STEPS else "")
                )
        self.weights = PhaseWeights.from_dict(saved["weights"])

    def batch_samples(
        self,
        host: Callable[..., Any],
        epoch_iterator: Iterator[Any],
        num_batches: int,
        device: torch.device,
    ) -> tuple[list[dict[str, Any]], torch.Tensor | int | None]:
        """Fetch the micro-batches of an optimizer step, masked to the phase and counted.

        Args:
            host: the trainer's own `get_batch_samples`.
            epoch_iterator: yields the micro-batches.
            num_batches: of a step; an epoch's last step may have fewer.
            device: where tokens are counted.

        Returns:
            The micro-batches, and the number of tokens that the step learns, over all ranks.
        """
        batches, items = host(epoch_iterator, num_batches, device)
        if not batches:
            return batches, items
        counts = torch.zeros(2, dtype=torch.long, device=device)
        for batch in batches:
            counts += mask_to(batch, PHASE_CODES[self.phase]).to(device)
        counts = self.trainer.accelerator.gather(counts).view(-1, 2).sum(0)
        meta, solve = counts.tolist()
        self.trainer.rlkd_step.tokens = meta, solve
        self.trainer.rlkd_step.losses.clear()
        return batches, counts.sum().clamp(min=1)


class Latest(Metric):
    """Logs the latest value, not the mean over the steps since the last log."""

    def __init__(self, value: float | None = None) -> None:
        super().__init__()
        self.value = value

    def update(self, value: float) -> None:
        self.value = value

    def compute(self) -> float | None:
        """Return the value of the last step, which is the same on every rank."""
        return self.value

    def reset(self) -> None:
        self.value = None
