"""The callback `rlkd_structured`: the phases of structured fine-grained training (section 3.1).

It puts the phase of the epoch into every optimizer step, before the step is computed: the labels of
tokens outside the phase are masked, so that ms-swift computes no logits for them where it can
(batch size 1, packing, padding_free), and the tokens of each set are counted over all
micro-batches and ranks. It keeps a and b, logs, and saves its state in `trainer_state.json`.
"""

from collections.abc import Iterator
from types import MethodType
from typing import Any

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
from rlkd_plugin.swift_hooks.structured_checks import check_rows, check_steps
from rlkd_plugin.swift_hooks.structured_loss import CODES
from rlkd_plugin.swift_hooks.structured_tokens import META, SOLVE

KEPT: dict[Phase, tuple[float, ...]] = {"meta": (META,), "solve": (SOLVE,), "mixed": (META, SOLVE)}
"""The sets whose tokens a phase learns."""

logger = get_logger()


class RlkdStructured(TrainerCallback, ExportableState):
    """`--callbacks rlkd_structured`, with the loss and the loss scale of the same name."""

    def __init__(self, args: TrainingArguments, trainer: Trainer) -> None:
        super().__init__(args, trainer)
        settings = load_settings()
        self.phases = settings.phases
        self.weights = PhaseWeights(settings.mix_a, settings.mix_b, settings.phase_interval)
        self.phase: Phase = self.phases[0]
        trainer.get_batch_samples = MethodType(self._batch_samples_of_phase(trainer), trainer)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this run, for `trainer_state.json`."""
        saved = {"phases": list(self.phases), "weights": self.weights.to_dict()}
        return {"args": {}, "attributes": {"saved": saved}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at all rows, and take up the state of the checkpoint that the run goes on from.

        Raises:
            RlkdError: if a row is no structure, the steps do not fit the phases, or the checkpoint
                is of another run.
        """
        check_steps(args, kwargs["train_dataloader"], len(self.phases))
        for which in ("train_dataset", "eval_dataset"):
            check_rows(which, getattr(self.trainer, which))
        name = type(self).__name__
        if state.global_step:
            self._restore(state.stateful_callbacks.get(name), self._phase_at(state))
        state.stateful_callbacks[name] = self.state()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the epoch's phase, before its first batch is fetched."""
        self.phase = self._phase_at(state)
        a, b = self.trainer.rlkd_step.weights = self.weights.of(self.phase)
        logger.info(f"rlkd: phase {self.phase}: weights a = {a:.6f}, b = {b:.6f}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sum the step's losses over the ranks, log them, and update a and b."""
        step = self.trainer.rlkd_step
        local = torch.stack(step.losses).sum(0)
        step.losses.clear()
        # gathered and summed in one order, so that a and b are the same on every rank
        both = self.trainer.accelerator.gather(local).view(-1, 2).double().cpu().sum(0).tolist()
        meta, solve = (
            loss if count else None for loss, count in zip(both, step.tokens, strict=True)
        )
        self._log(meta, solve)
        self.weights.record(self.phase, meta, solve)
        step.weights = self.weights.of(self.phase)

    def _log(self, meta: float | None, solve: float | None) -> None:
        metrics = self.trainer.custom_metrics["train"]
        step = self.trainer.rlkd_step
        values = {"loss_meta": meta, "loss_solve": solve}
        values |= dict(zip(("tokens_meta", "tokens_solve"), map(float, step.tokens), strict=True))
        for name, value in values.items():
            if value is not None:
                metrics[name].update(value)
        latest = {"phase": float(self.phases_so_far())}
        if self.phase == "mixed":
            latest |= dict(zip("ab", step.weights, strict=True))
        for name, value in latest.items():
            if not isinstance(metrics[name], Latest):
                metrics[name] = Latest()
            metrics[name].update(value)

    def phases_so_far(self) -> int:
        """Return which of the paper's phases this is: 1 meta, 2 solve, 3 mixed."""
        return list(KEPT).index(self.phase) + 1

    def _phase_at(self, state: TrainerState) -> Phase:
        epoch = int(round(state.epoch or 0.0, 6))
        return self.phases[min(epoch, len(self.phases) - 1)]

    def _restore(self, checkpoint: dict[str, Any] | None, phase: Phase) -> None:
        if checkpoint is None:
            if phase != self.phases[0]:
                raise RlkdError(
                    f"the checkpoint has no state of rlkd_structured, and phase {phase} goes on "
                    "from the losses of the phases before it; start from a checkpoint of such a "
                    "run, or train anew"
                )
            logger.warning("rlkd: the checkpoint has no state of rlkd_structured: L1 counts anew")
            return
        saved = checkpoint["attributes"]["saved"]
        if saved["phases"] != list(self.phases):
            raise RlkdError(
                f"the checkpoint is of a run with the phases {','.join(saved['phases'])}, this one "
                f"has {','.join(self.phases)}; set RLKD_PHASES as it was"
            )
        interval = self.weights.interval
        self.weights = PhaseWeights.from_dict(saved["weights"])
        if self.weights.interval != interval:
            raise RlkdError(
                f"the checkpoint is of a run with RLKD_PHASE_INTERVAL={self.weights.interval}, "
                f"this one has {interval}"
            )

    def _batch_samples_of_phase(self, trainer: Trainer) -> Any:
        host = type(trainer).get_batch_samples

        def get_batch_samples(
            trainer: Trainer, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
        ) -> tuple[list[dict[str, Any]], torch.Tensor | int | None]:
            """Fetch the micro-batches of an optimizer step, masked to the phase and counted."""
            batches, items = host(trainer, epoch_iterator, num_batches, device)
            if not batches:
                return batches, items
            kept = KEPT[self.phase]
            counts = torch.zeros(2, dtype=torch.long, device=device)
            for batch in batches:
                counts += mask_to(batch, kept).to(device)
            counts = trainer.accelerator.gather(counts).view(-1, 2).sum(0)
            trainer.rlkd_step.tokens = tuple(counts.tolist())
            trainer.rlkd_step.losses.clear()
            return batches, counts.sum().clamp(min=1)

        return get_batch_samples


def mask_to(batch: dict[str, torch.Tensor], kept: tuple[float, ...]) -> torch.Tensor:
    """Take the tokens outside the sets out of a batch's labels and codes, in place.

    Args:
        batch: with `labels` and `loss_scale` (the codes), both of shape (B, L); -100 is no label.
        kept: the codes of the sets that stay.

    Returns:
        How many tokens of META and of SOLVE stay, shape (2,).
    """
    labels, codes = batch["labels"], batch["loss_scale"]
    stays = (labels != -100) & torch.isin(codes, codes.new_tensor(kept))
    batch["labels"] = labels.masked_fill(~stays, -100)
    batch["loss_scale"] = codes.masked_fill(~stays, 0)
    predicted = batch["loss_scale"][:, 1:]  # nothing predicts the first token
    return torch.stack([(predicted == code).sum() for code in CODES])


class Latest(Metric):
    """A value that is logged as it is, not as a mean over the steps since the last log."""

    def __init__(self) -> None:
        super().__init__()
        self.value: float | None = None

    def update(self, value: float) -> None:
        self.value = value

    def compute(self) -> float | None:
        """Return the value of the last step; the same on every rank."""
        return self.value

    def reset(self) -> None:
        self.value = None
