"""Writes the files with which `vllm serve` prompts a model as `rlkd_r1` trained it.

transformers reads the tokenizer, as in ms-swift and vLLM: the control tokens that it knows, and
whether it adds a beginning of sequence, are those of training.
"""

import json
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.prompts import R1_SYSTEM
from rlkd_plugin.llm_io.chat_template import chat_template
from rlkd_plugin.llm_io.dialogues import dialogue_of
from rlkd_plugin.llm_io.prompting import CHAT_TEMPLATE, GENERATION
from rlkd_plugin.rlkd_files import write_whole


def write_serving_files(model: str, folder: Path, system: str | None = None) -> None:
    """Write a model's chat template, and the tokens that end its replies, into a folder.

    Args:
        model: its folder, or a hub's id.
        folder: has to exist.
        system: the system prompt of a conversation without one; None for that of `rlkd_r1`.

    Raises:
        RlkdError: if its tokenizer cannot be read.
    """
    tokenizer = _read_tokenizer(model)
    text = template_of(tokenizer, system)
    write_whole(folder / CHAT_TEMPLATE, text.encode("ascii"))
    # this file alone is read: sampling keeps the server's own defaults
    ends = {"eos_token_id": end_tokens(tokenizer)}
    write_whole(folder / GENERATION, json.dumps(ends).encode("ascii"))


def template_of(tokenizer: Any, system: str | None = None) -> str:
    """Return the chat template for a tokenizer."""
    dialogue = dialogue_of(tokenizer.get_vocab())
    return chat_template(
        dialogue,
        bos=_find_prefix(tokenizer),
        eos=tokenizer.eos_token or "",
        system=R1_SYSTEM if system is None else system,
    )


def end_tokens(tokenizer: Any) -> list[int]:
    """Return the ids at which a reply ends, as in ms-swift's rollouts.

    A base model's own end of sequence is not the end of a turn that it learns.
    """
    end = dialogue_of(tokenizer.get_vocab()).end or ""
    found = tokenizer.encode(end.strip(), add_special_tokens=False)
    ends = [*(found if len(found) == 1 else []), tokenizer.eos_token_id]
    return [token for token in dict.fromkeys(ends) if token is not None]


def _find_prefix(tokenizer: Any) -> str:
    """Return the text that a tokenizer adds before every text."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    return "".join(tokenizer.convert_ids_to_tokens(whole[: whole.index(plain[0])]))


def _read_tokenizer(model: str) -> Any:
    """Return a model's tokenizer.

    Raises:
        RlkdError: if it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except Exception as error:  # of any library below: there is no common class
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RlkdError(
            f"the template rlkd_r1 needs the tokenizer of {model}, which cannot be read: {reason}; "
            "name a folder, or give --template model"
        ) from error
