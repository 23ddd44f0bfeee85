"""Chooses the template with which a server prompts its model.

ms-swift stores the options of a training as `args.json` in each checkpoint. The chat template in a
checkpoint is still the base model's, which may have another system prompt or write `<think>`.
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
"""Names of the files for `vllm serve`."""
SERVING = "serving"
"""Folder of these files, next to the server's log."""

USUAL: Mapping[str, Callable[[Any], bool]] = {
    "response_prefix": lambda value: value == "",
    "system": lambda value: (
        isinstance(value, str) and value != ""
    ),  # empty: no system prompt at all
    "use_chat_template": lambda value: value is True,
    "template_backend": lambda value: value == "swift",  # `jinja` uses the tokenizer's template
}
"""Tests for the values of ms-swift's options that do not change the template; None never does."""

Choice = Literal["auto", "model", "rlkd_r1"]


@dataclass(frozen=True)
class Prompting:
    """The template and system prompt of a server.

    Attributes:
        template: "rlkd_r1", or empty for the model's own.
        is_trained: whether the model was trained with `rlkd_r1`, according to its checkpoint.
        system: the system prompt of that training, if it was not the template's.
    """

    template: str = ""
    is_trained: bool = False
    system: str = ""

    @property
    def notice(self) -> str:
        """A sentence for the user; empty for the model's own template."""
        if not self.template:
            return ""
        why = ", as it was trained (--template model for its own)" if self.is_trained else ""
        return f"serving with the template {self.template}{why}"


OWN_TEMPLATE = Prompting()
"""For a model without known training options."""


def choose_prompting(choice: Choice, model: str, adapter: str) -> Prompting:
    """Return the template to prompt a model with.

    Args:
        choice: "rlkd_r1" for the template; "model" for the model's own; "auto" for `rlkd_r1` if the
            adapter or the model was trained with it, else for the model's own.
        model: its folder or id; empty if it is served elsewhere.
        adapter: the folder of a LoRA for it, or empty.

    Raises:
        RlkdError: if its training changed the template in a way that cannot be reproduced.
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
                "be reproduced here: serve it yourself and give --url, or give --template model"
            )
    return Prompting(RLKD_R1, is_trained=True, system=training.get("system") or "")


def _training_of(model: str) -> Mapping[str, Any]:
    """Return the options with which ms-swift trained a model; empty if it did not.

    Raises:
        RlkdError: if they cannot be read.
    """
    folder = folder_of(model, is_local=True)
    return read_training_args(folder) if folder else {}
