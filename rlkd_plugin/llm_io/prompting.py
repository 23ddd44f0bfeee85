"""How a server is to ask its model: the template that it was trained with, or its own.

ms-swift keeps the options of a training as `args.json` in each checkpoint. A checkpoint's own chat
template is still the base model's, which may hold another system prompt or write `<think>` for it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.dialogues import RLKD_R1
from rlkd_plugin.llm_io.training_args import read_training_args
from rlkd_plugin.llm_io.weight_fingerprint import folder_of

CHAT_TEMPLATE = "chat_template.jinja"
GENERATION = "generation_config.json"
"""The files for `vllm serve`."""
SERVING = "serving"
"""The folder of these files, beside the server's log."""

USUAL: Mapping[str, Callable[[Any], bool]] = {
    "response_prefix": lambda value: value == "",
    "system": lambda value: isinstance(value, str) and value != "",  # else there was none at all
    "use_chat_template": lambda value: value is True,
    "template_backend": lambda value: value == "swift",  # `jinja` takes the tokenizer's template
}
"""Which values of ms-swift's options leave the template as it is; None always does."""

Choice = Literal["auto", "model", "rlkd_r1"]


@dataclass(frozen=True)
class Prompting:
    """How a server is to ask its model.

    Attributes:
        template: "rlkd_r1", or empty for the model's own.
        is_trained: whether a checkpoint says that it was trained with `rlkd_r1`.
        system: the system prompt of that training, if it was not the template's.
    """

    template: str = ""
    is_trained: bool = False
    system: str = ""

    @property
    def notice(self) -> str:
        """A sentence for the user, or nothing where nothing is set."""
        if not self.template:
            return ""
        why = ", as it was trained (--template model for its own)" if self.is_trained else ""
        return f"serving with the template {self.template}{why}"


OWN_TEMPLATE = Prompting()
"""The way of a model of whose training nothing is known."""


def choose_prompting(choice: Choice, model: str, adapter: str) -> Prompting:
    """Return how a model is to be asked.

    Args:
        choice: "rlkd_r1" for the template; "model" for the model's own; "auto" for `rlkd_r1` where
            the adapter or the model was trained with it, and else for the model's own.
        model: its folder or id; empty for one that is served elsewhere.
        adapter: the folder of a LoRA for it, or nothing.

    Raises:
        RlkdError: if its training asked in a way that is not known here.
    """
    training = _training_of(adapter) or _training_of(model)
    is_trained = training.get("template") == RLKD_R1
    if choice == "model" or (choice == "auto" and not is_trained):
        return Prompting(is_trained=is_trained)
    if not is_trained:
        return Prompting(RLKD_R1)
    for option, usual in USUAL.items():
        value = training.get(option)
        if not (value is None or usual(value)):
            raise RlkdError(
                f"{adapter or model} was trained with --{option} {json.dumps(value)}, which cannot "
                "be repeated here: serve it yourself and give --url, or give --template model"
            )
    return Prompting(RLKD_R1, is_trained=True, system=training.get("system") or "")


def _training_of(model: str) -> Mapping[str, Any]:
    """Return the options with which ms-swift trained a model; none where it did not.

    Raises:
        RlkdError: if they cannot be read.
    """
    folder = folder_of(model, is_local=True)
    return read_training_args(folder) if folder else {}
