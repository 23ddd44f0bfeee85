"""The template `rlkd_r1`: the think/answer system prompt in the model's own control tokens.

One name serves base models (RLKD-Zero) and R1-style models, because the conversation is written
with the tokens that the tokenizer knows. Nothing is prefilled: the completion itself has to open
with `<think>`, as the rewards `format` and `rlkd_tag_count` ask. ms-swift's own `deepseek_r1`
writes `<think>` for the model, which makes `format` 0 for every completion.
"""

from dataclasses import dataclass, field

from swift.template import Prompt, TemplateMeta, register_template
from transformers import PreTrainedTokenizerBase

from rlkd_plugin.gsrm.prompts import R1_SYSTEM


@dataclass(frozen=True)
class Dialogue:
    """How one family of models writes a conversation; `own_token` is a token that it alone has."""

    own_token: str
    prefix: Prompt
    prompt: Prompt
    chat_sep: Prompt
    suffix: Prompt
    writes_bos: bool = False


R1 = Dialogue(
    own_token="<｜User｜>",
    prefix=["<｜begin▁of▁sentence｜>{{SYSTEM}}"],
    prompt=["<｜User｜>{{QUERY}}<｜Assistant｜>"],
    chat_sep=["<｜end▁of▁sentence｜>"],
    suffix=["<｜end▁of▁sentence｜>"],
    writes_bos=True,
)
CHATML = Dialogue(
    own_token="<|im_start|>",
    prefix=["<|im_start|>system\n{{SYSTEM}}<|im_end|>\n"],
    prompt=["<|im_start|>user\n{{QUERY}}<|im_end|>\n<|im_start|>assistant\n"],
    chat_sep=["<|im_end|>\n"],
    suffix=["<|im_end|>\n"],
)
PLAIN = Dialogue(  # a base model without a chat: lines that name the speaker
    own_token="",
    prefix=["{{SYSTEM}}\n\n"],
    prompt=["User: {{QUERY}}\n\nAssistant: "],
    chat_sep=["\n\n"],
    suffix=[["eos_token_id"]],
)


@dataclass
class R1Meta(TemplateMeta):
    """Takes the form of the model's own conversations when it gets the tokenizer."""

    prefix: Prompt = field(default_factory=lambda: list(CHATML.prefix))
    prompt: Prompt = field(default_factory=lambda: list(CHATML.prompt))
    chat_sep: Prompt | None = field(default_factory=lambda: list(CHATML.chat_sep))

    def init(self, tokenizer: PreTrainedTokenizerBase) -> None:
        vocabulary = tokenizer.get_vocab()
        dialogue = next((d for d in (R1, CHATML) if d.own_token in vocabulary), PLAIN)
        self.system_prefix = list(dialogue.prefix)
        self.prefix = self._replace_system(dialogue.prefix) if dialogue.writes_bos else []
        self.prompt = list(dialogue.prompt)
        self.chat_sep = list(dialogue.chat_sep)
        self.suffix = list(dialogue.suffix)
        self.auto_add_bos = not dialogue.writes_bos  # where the tokenizer adds one by itself
        super().init(tokenizer)


def register_r1() -> None:
    """Register `rlkd_r1`; a second call replaces it by the same."""
    register_template(R1Meta("rlkd_r1", default_system=R1_SYSTEM), exist_ok=True)
