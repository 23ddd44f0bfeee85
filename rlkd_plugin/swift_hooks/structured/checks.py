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
from rlkd_plugin.swift_hooks.structured.tokens import NAME, uses_codes

SHOWN = 5
CHAIN = {NAME, "default", "last_round", "ignore_empty_think", "ignore_think_prefix"}
"""What `--loss_scale` may be made of: others put weights where ours puts codes."""

# option: the one value that it may have here, and why
ONLY: dict[str, tuple[Any, str]] = {
    "rlhf_type": (None, "it is for `swift sft`"),
    "task_type": ("causal_lm", "it trains a model to write structures"),
    "streaming": (False, "phases follow epochs, and a stream has none"),
    "lazy_tokenize": (
        False,
        "rows that cannot be encoded are counted, and lazily ms-swift puts others in their place",
    ),
    "cached_dataset": ([], "rows that cannot be encoded are counted, and a cache has lost them"),
    "cached_val_dataset": ([], "as for --cached_dataset"),
    "sequence_parallel_size": (1, "tokens are not counted over it; packing saves memory too"),
    "average_tokens_across_devices": (True, "losses are divided by the tokens of all ranks"),
    "template_backend": ("swift", "another one does not tell a response from its prompt"),
    "is_binary_loss_scale": (None, "the codes of the tokens would be lost"),
    "enable_channel_loss": (False, "it would log the codes with the losses"),
    "auto_find_batch_size": (False, "it would change the steps of a phase on the way"),
    "restore_callback_states_from_checkpoint": (
        False,
        "our state is restored without it, and ms-swift's callbacks cannot be rebuilt",
    ),
}

logger = get_logger()


def check_arguments(args: Any) -> None:
    """Look at the arguments of a run: all three names or none, and nothing that they cannot serve.

    Raises:
        RlkdError: says what does not fit and what to do.
    """
    chain = (args.loss_scale or "").split("+")
    given = {
        "--loss_type": args.loss_type == NAME,
        "--loss_scale": NAME in chain,
        "--callbacks": NAME in args.callbacks,
    }
    if not any(given.values()):
        return
    if missing := [f"{option} {NAME}" for option, there in given.items() if not there]:
        raise RlkdError(
            f"structured fine-grained training needs --loss_type, --loss_scale and --callbacks "
            f"{NAME} together; {' and '.join(missing)} is missing"
        )
    if others := [part for part in chain if part not in CHAIN]:
        raise RlkdError(f"--loss_scale {args.loss_scale}: {others[0]} does not go with {NAME}")
    for option, (value, why) in ONLY.items():
        found = getattr(args, option, value)
        if found is not None and found != value:
            shown = str(found).lower() if isinstance(found, bool) else found
            raise RlkdError(f"--{option} {shown} does not go with {NAME}: {why}; leave it out")
    if "early_stop" in args.callbacks:
        raise RlkdError(f"--callbacks early_stop does not go with {NAME}: it would cut a phase")
    phases = load_settings().phases
    if args.num_train_epochs != len(phases):
        raise RlkdError(
            f"--num_train_epochs {args.num_train_epochs:g} does not fit the {len(phases)} phases "
            f"{','.join(phases)}, one epoch each: give --num_train_epochs {len(phases)}, or other "
            "RLKD_PHASES"
        )


def check_steps(args: TrainingArguments, dataloader: Any, phases: int) -> int:
    """Return the optimizer steps of an epoch; refuse `--max_steps` that would cut a phase.

    Raises:
        RlkdError: if the run would end before its last phase does.
    """
    epoch = max(1, -(-len(dataloader) // args.gradient_accumulation_steps))
    if args.max_steps > 0 and args.max_steps != epoch * phases:
        raise RlkdError(
            f"--max_steps {args.max_steps} does not end where the last of the {phases} phases "
            f"does, at step {epoch * phases} (an epoch has {epoch} steps): leave it out"
        )
    return epoch


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
            if message["role"] != "assistant" or message.get("loss") is False:
                continue
            if message.get("loss_scale") is not None:
                raise RlkdError(
                    f"row {number} has a loss_scale of its own, which would stand where {NAME} "
                    "puts its codes: leave it out"
                )
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
