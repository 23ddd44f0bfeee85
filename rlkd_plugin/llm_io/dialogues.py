"""How families of models write a conversation: one table for training and for servers.

`swift_hooks.data.template` makes ms-swift's template `rlkd_r1` of it, `chat_template` the file that
`vllm serve` reads. Nothing is prefilled: a completion itself opens with `<think>`.
"""

from collections.abc import Container
from dataclasses import dataclass

RLKD_R1 = "rlkd_r1"
"""The template's name."""
SYSTEM = "{{SYSTEM}}"
"""The place of the system prompt in an opening."""
QUERY = "{{QUERY}}"
"""The place of what the user says in a turn."""


@dataclass(frozen=True)
class Dialogue:
    """The texts of one family's conversations, with its control tokens.

    Attributes:
        own_token: a token that this family alone has; empty for the one without any.
        opening: what comes first, with `SYSTEM` in it.
        bare_opening: the same of a conversation without a system prompt.
        turn: what the user says, with `QUERY` in it, up to where the model begins to write.
        separator: what follows a reply that is not the last.
        end: what follows the last reply; None for the tokenizer's end of sequence.
        writes_bos: whether the openings hold the beginning of sequence.
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
    """Return the dialogue of the model whose tokenizer has this vocabulary."""
    return next((d for d in (R1, CHATML) if d.own_token in vocabulary), PLAIN)
