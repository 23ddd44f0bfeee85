"""The template `rlkd_r1`: the think/answer system prompt in the model's own control tokens.

One name serves base models (RLKD-Zero) and R1-style models, because the conversation is written
with the tokens that the tokenizer knows (`llm_io.dialogues`, also the source of the servers'
templates). Nothing is prefilled: the completion itself has to open with `<think>`, as the rewards
`format` and `rlkd_tag_count` require. ms-swift's own `deepseek_r1` writes `<think>` for the model,
which makes `format` 0 for every completion.
"""

from dataclasses import dataclass, field

from swift.template import Prompt, TemplateMeta, register_template
from transformers import PreTrainedTokenizerBase

from rlkd_plugin.gsrm.prompts import R1_SYSTEM
from rlkd_plugin.llm_io.dialogues import CHATML, RLKD_R1, dialogue_of


@dataclass
class R1Meta(TemplateMeta):
    """Adopts the model's own conversation format when it gets the tokenizer."""

    prefix: Prompt = field(default_factory=lambda: [CHATML.opening])
    prompt: Prompt = field(default_factory=lambda: [CHATML.turn])
    chat_sep: Prompt | None = field(default_factory=lambda: [CHATML.separator])

    def init(self, tokenizer: PreTrainedTokenizerBase) -> None:
        dialogue = dialogue_of(tokenizer.get_vocab())
        self.system_prefix = [dialogue.opening]
        self.prefix = [dialogue.bare_opening] if dialogue.bare_opening else []
        self.prompt = [dialogue.turn]
        self.chat_sep = [dialogue.separator]
        self.suffix = [["eos_token_id"]] if dialogue.end is None else [dialogue.end]
        self.auto_add_bos = not dialogue.writes_bos  # where the tokenizer adds one by itself
        super().init(tokenizer)


def register_r1() -> None:
    """Register `rlkd_r1`; a second call replaces it by the same."""
    register_template(R1Meta(RLKD_R1, default_system=R1_SYSTEM), exist_ok=True)
