"""What structured fine-grained training refuses, and when: before the model is loaded where it can.

Not here: the training itself (`structured_training`).
"""

from collections.abc import Iterator
from typing import Any

from swift.dataset import AddLengthPreprocessor
from swift.trainers import TrainerFactory, TrainingArguments
from swift.utils import get_logger

from rlkd_plugin.gsrm import FormatError, RlkdError, parse_structure
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.structured_tokens import NAME, uses_codes

SHOWN = 5

logger = get_logger()


def check_arguments(args: Any) -> None:
    """Look at the arguments of a run: all three names or none, and nothing that they cannot serve.

    Raises:
        RlkdError: says what does not fit and what to do.
    """
    given = {
        "--loss_type": args.loss_type == NAME,
        "--loss_scale": NAME in (args.loss_scale or "").split("+"),
        "--callbacks": NAME in args.callbacks,
    }
    if not any(given.values()):
        return
    if missing := [f"{option} {NAME}" for option, there in given.items() if not there]:
        raise RlkdError(
            f"structured fine-grained training needs --loss_type, --loss_scale and --callbacks "
            f"{NAME} together; {' and '.join(missing)} is missing"
        )
    phases = load_settings().phases
    if getattr(args, "rlhf_type", None):
        raise RlkdError(f"{NAME} is for `swift sft`, not for `swift rlhf --rlhf_type`")
    if args.streaming:
        raise RlkdError(f"{NAME} follows epochs, and --streaming true has none: leave it out")
    if args.num_train_epochs != len(phases):
        raise RlkdError(
            f"--num_train_epochs {args.num_train_epochs:g} does not fit the {len(phases)} phases "
            f"{','.join(phases)}, one epoch each: give --num_train_epochs {len(phases)}, or other "
            "RLKD_PHASES"
        )
    if args.sequence_parallel_size > 1:
        raise RlkdError(
            f"{NAME} does not count tokens over --sequence_parallel_size "
            f"{args.sequence_parallel_size}: give 1, and packing or a shorter --max_length"
        )
    if not args.average_tokens_across_devices:
        raise RlkdError(
            f"{NAME} divides by the tokens of all ranks: leave out "
            "--average_tokens_across_devices false"
        )
    if args.lazy_tokenize:
        raise RlkdError(
            f"{NAME} counts the rows that cannot be encoded, and with --lazy_tokenize true "
            "ms-swift puts others in their place unseen: leave it out"
        )


def check_steps(args: TrainingArguments, dataloader: Any, phases: int) -> None:
    """Refuse `--max_steps` that would cut a phase.

    Raises:
        RlkdError: if the run would end before its last phase does.
    """
    accumulation = args.gradient_accumulation_steps
    epoch = max(1, -(-len(dataloader) // accumulation))
    if args.max_steps > 0 and args.max_steps != epoch * phases:
        raise RlkdError(
            f"--max_steps {args.max_steps} does not end where the last of the {phases} phases "
            f"does, at step {epoch * phases} (an epoch has {epoch} steps): leave it out"
        )


def check_rows(name: str, dataset: Any) -> None:
    """Parse every response before the first step.

    Raises:
        RlkdError: if one is no whole structure; it names the first of them and the reason.
    """
    refused = []
    for number, text in _responses(dataset):
        try:
            if not parse_structure(text).final_answer:
                raise FormatError(f"it breaks off or has no final answer: {text[-100:]!r}")
        except FormatError as error:
            refused.append(f"row {number}: {error}")
    if refused:
        more = f" ... and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        raise RlkdError(
            f"{len(refused)} responses of the {name} are no structures; `rlkd prepare gsrm-sft` "
            "leaves such rows out and names their lines. In the order into which ms-swift has "
            f"shuffled them: {'; '.join(refused[:SHOWN])}{more}"
        )


def _responses(dataset: Any) -> Iterator[tuple[int, str]]:
    while dataset is not None and not hasattr(dataset, "column_names"):
        dataset = getattr(dataset, "dataset", None)  # ms-swift's packed and lazy data sets
    for number, messages in enumerate(dataset["messages"] if dataset is not None else (), start=1):
        for message in messages:
            if message["role"] == "assistant":
                yield number, message["content"]


def check_lost(name: str, before: int, after: int, most: float) -> None:
    """Refuse to train where more than a share of the rows could not be encoded.

    Raises:
        RlkdError: with both counts.
    """
    if after < before:
        logger.warning(f"rlkd: {name}: {before - after} of {before} rows could not be encoded")
    if before - after > most * before:
        raise RlkdError(
            f"{before - after} of {before} rows could not be encoded, more than RLKD_MAX_LOST_ROWS="
            f"{most:g} of them. Most often they are longer than --max_length: raise it, or give "
            "--truncation_strategy right; ms-swift's log has the other reasons"
        )


def watch_host() -> None:
    """Have ms-swift call the checks: on its arguments, and where it encodes a data set.

    Both go on as before for every run without our names.
    """
    if getattr(TrainerFactory.get_training_args, "checked", False):
        return
    host_args, host_encode = TrainerFactory.get_training_args, AddLengthPreprocessor.__call__

    def get_training_args(args: Any) -> Any:
        check_arguments(args)
        return host_args(args)

    def encode(self: AddLengthPreprocessor, dataset: Any, **kwargs: Any) -> Any:
        kept = host_encode(self, dataset, **kwargs)
        if uses_codes(self.template.loss_scale):
            check_lost(NAME, len(dataset), len(kept), load_settings().max_lost_rows)
        return kept

    get_training_args.checked = True
    TrainerFactory.get_training_args = staticmethod(get_training_args)
    AddLengthPreprocessor.__call__ = encode
