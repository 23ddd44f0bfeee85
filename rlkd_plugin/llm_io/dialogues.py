"""The conversation formats of model families: one table for training and for servers.

`swift_hooks.data.template` builds ms-swift's template `rlkd_r1` from it, and `chat_template` the
file for `vllm serve`. Nothing is prefilled: a completion itself begins with `<think>`.
"""

from collections.abc import Container
from dataclasses import dataclass

RLKD_R1 = "rlkd_r1"
"""The template's name."""
SYSTEM = "{{SYSTEM}}"
"""Placeholder of the system prompt in an opening."""
QUERY = "{{QUERY}}"
"""Placeholder of the user's message in a turn."""


@dataclass(frozen=True)
class Dialogue:
    """The texts of one family's conversations, with its control tokens.

    Attributes:
        own_token: a token that only this family has; empty for the family without any.
        opening: the beginning of a conversation, with `SYSTEM` in it.
        bare_opening: the beginning without a system prompt.
        turn: the user's turn, with `QUERY` in it, up to the beginning of the reply.
        separator: the text after a reply that is not the last.
        end: the text after the last reply; None for the tokenizer's end-of-sequence token.
        writes_bos: whether the openings contain the beginning-of-sequence token.
    """

    own_token: str
    opening: str
    bare_opening: str
    turn: str
    separator: str
    end: str | None
    writes_bos: bool = False


R1 = Dialogue(
    own_token="<｜User｜>",
    opening="<｜begin▁of▁sentence｜>{{SYSTEM}}",
    bare_opening="<｜begin▁of▁sentence｜>",
    turn="<｜User｜>{{QUERY}}<｜Assistant｜>",
    separator="<｜end▁of▁sentence｜>",
    end="<｜end▁of▁sentence｜>",
    writes_bos=True,
)
CHATML = Dialogue(
    own_token="<|im_start|>",
    opening="<|im_start|>system\n{{SYSTEM}}<|im_end|>\n",
    bare_opening="",
    turn="<|im_start|>user\n{{QUERY}}<|im_end|>\n<|im_start|>assistant\n",
    separator="<|im_end|>\n",
    end="<|im_end|>\n",
)
PLAIN = Dialogue(  # a base model without a chat: lines that name the speaker
    own_token="",
    opening="{{SYSTEM}}\n\n",
    bare_opening="",
    turn="User: {{QUERY}}\n\nAssistant: ",
    separator="\n\n",
    end=None,
)


def dialogue_of(vocabulary: Container[str]) -> Dialogue:
    """Return the dialogue for a tokenizer with this vocabulary."""
    return next((d for d in (R1, CHATML) if d.own_token in vocabulary), PLAIN)
