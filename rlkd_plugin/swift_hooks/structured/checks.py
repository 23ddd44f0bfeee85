"""Checks arguments and rows before structured fine-grained training begins.

The arguments before a model is loaded. Not here: the training itself (`callback`, `loss`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from datasets import Dataset
from swift.dataset import AddLengthPreprocessor
from swift.trainers import TrainerFactory, TrainingArguments
from swift.utils import get_logger

from rlkd_plugin.gsrm import FormatError, RlkdError, parse_structure
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.structured.tokens import NAME, uses_codes

ROWS_SHOWN = 5
"""Rejected rows that an error names."""
CHAIN = {NAME, "default", "last_round", "ignore_empty_think", "ignore_think_prefix"}
"""Loss scales that `--loss_scale` may chain: others write weights where ours writes codes."""

ONLY: dict[str, tuple[Any, str]] = {
    "rlhf_type": (None, "it is for `swift sft`"),
    "task_type": ("causal_lm", "it trains a model to write structures"),
    "streaming": (False, "phases follow epochs, and a stream has none"),
    "lazy_tokenize": (
        False,
        "rows that cannot be encoded are counted, and ms-swift would replace them silently",
    ),
    "cached_dataset": ([], "rows that cannot be encoded are counted, and a cache lacks them"),
    "cached_val_dataset": ([], "as for --cached_dataset"),
    "sequence_parallel_size": (1, "tokens are not counted across it; packing saves memory too"),
    "average_tokens_across_devices": (True, "losses are divided by the tokens of all ranks"),
    "template_backend": ("swift", "other backends do not separate a response from its prompt"),
    "is_binary_loss_scale": (None, "the codes of the tokens would be lost"),
    "enable_channel_loss": (False, "it would log the codes with the losses"),
    "auto_find_batch_size": (False, "it would change the steps of a phase during the run"),
    "restore_callback_states_from_checkpoint": (
        False,
        "our state is restored without it, and ms-swift's callbacks cannot be rebuilt",
    ),
}
"""The one value that each option may have in such a run, and the reason."""

logger = get_logger()


def check_arguments(args: Any) -> None:
    """Check the arguments of a run: all three names or none, and no option that they exclude.

    Raises:
        RlkdError: if an argument does not fit; the message says what to do.
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
        raise RlkdError(
            f"--loss_scale {args.loss_scale}: {others[0]} cannot be used with {NAME}; remove it"
        )
    for option, (value, why) in ONLY.items():
        found = getattr(args, option, value)
        if found is not None and found != value:
            shown = str(found).lower() if isinstance(found, bool) else found
            raise RlkdError(f"--{option} {shown} cannot be used with {NAME}: {why}; remove it")
    if "early_stop" in args.callbacks:
        raise RlkdError(
            f"--callbacks early_stop cannot be used with {NAME}: it would end a phase early; "
            "remove it"
        )
    phases = load_settings().phases
    if args.num_train_epochs != len(phases):
        raise RlkdError(
            f"--num_train_epochs {args.num_train_epochs:g} does not fit the {len(phases)} phases "
            f"{','.join(phases)}, one epoch each: give --num_train_epochs {len(phases)}, or other "
            "RLKD_PHASES"
        )


def check_steps(args: TrainingArguments, dataloader: Any, phases: int) -> int:
    """Return the number of optimizer steps in an epoch.

    Raises:
        RlkdError: if `--max_steps` would end the run before its last phase does.
    """
    assert args.gradient_accumulation_steps is not None  # ms-swift has filled it in
    epoch = max(1, -(-len(dataloader) // args.gradient_accumulation_steps))
    if args.max_steps > 0 and args.max_steps != epoch * phases:
        raise RlkdError(
            f"--max_steps {args.max_steps} does not end where the last of the {phases} phases "
            f"does, at step {epoch * phases} (an epoch has {epoch} steps): remove it"
        )
    return epoch


def check_rows(name: str, dataset: Any) -> None:
    """Parse every response before the first step.

    Raises:
        RlkdError: if one is not a whole structure; the message names the first and the reason.
    """
    rejected = []
    for number, text in _responses(dataset):
        try:
            if not parse_structure(text).final_answer:
                raise FormatError(f"it breaks off or has no final answer: {text[-100:]!r}")
        except FormatError as error:
            rejected.append(f"row {number}: {error}")
    if rejected:
        hidden = len(rejected) - ROWS_SHOWN
        more = f" ... and {hidden} more" if hidden > 0 else ""
        raise RlkdError(
            f"{len(rejected)} responses of the {name} are not structures; `rlkd prepare gsrm-sft` "
            "drops such rows and names their lines. In the order in which ms-swift shuffled them: "
            f"{'; '.join(rejected[:ROWS_SHOWN])}{more}"
        )


def _responses(dataset: Any) -> Iterator[tuple[int, str]]:
    for number, messages in enumerate(_conversations(dataset), start=1):
        for message in messages:
            if message["role"] != "assistant" or message.get("loss") is False:
                continue
            if message.get("loss_scale") is not None:
                raise RlkdError(
                    f"row {number} has a loss_scale of its own, which would replace the codes of "
                    f"{NAME}: remove it from the row"
                )
            yield number, message["content"]


def _conversations(dataset: Any) -> Iterable[list[dict[str, Any]]]:
    """Return the messages of each row, also from within ms-swift's packed and lazy data sets."""
    while dataset is not None:
        if hasattr(dataset, "column_names"):
            return dataset["messages"]
        dataset = getattr(dataset, "dataset", None)
    return ()


def check_lost_rows(name: str, before: int, after: int, most: float) -> None:
    """Warn of rows that could not be encoded.

    Raises:
        RlkdError: if their share of all rows is above `most`.
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
    """Make ms-swift call the checks: on its arguments, and where it encodes a data set.

    Nothing changes for a run without our names.
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
            assert isinstance(kept, Dataset)  # a stream is rejected
            check_lost_rows(NAME, len(dataset), len(kept), load_settings().max_lost_rows)
        return kept

    get_training_args.checked = True
    TrainerFactory.get_training_args = staticmethod(get_training_args)
    AddLengthPreprocessor.__call__ = encode
