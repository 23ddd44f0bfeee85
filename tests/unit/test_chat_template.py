"""A server's chat template gives the token ids that ms-swift's `rlkd_r1` trains with."""

from typing import Any

import pytest

from rlkd_plugin.llm_io.chat_template import chat_template
from rlkd_plugin.llm_io.dialogues import CHATML, PLAIN, R1, dialogue_of
from rlkd_plugin.swift_hooks.data.serving_files import end_tokens, template_of
from tests.support.conversations import ASKED, CONVERSATIONS, SAID, SYSTEM
from tests.support.each import check_each
from tests.support.templates import template, tokenizer_with

R1_TOKENS = ("<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")


def without(token: str) -> Any:
    """The small model's tokenizer, as if it did not know a token of its own."""
    tokenizer = tokenizer_with()
    known = {k: v for k, v in tokenizer.get_vocab().items() if k != token}
    tokenizer.get_vocab = lambda: known
    return tokenizer


def adds_bos(tokenizer: Any) -> Any:
    """The same tokenizer, which adds its beginning of sequence by itself, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    assert tokenizer.encode("a")[0] == tokenizer.bos_token_id
    return tokenizer


TOKENIZERS = {
    "chatml": tokenizer_with,
    "chatml with bos": lambda: adds_bos(tokenizer_with()),
    "r1": lambda: tokenizer_with(*R1_TOKENS),
    "r1 with bos": lambda: adds_bos(tokenizer_with(*R1_TOKENS)),
    "plain": lambda: without(CHATML.own_token),
    "plain with bos": lambda: adds_bos(without(CHATML.own_token)),
}


def served_ids(tokenizer: Any, messages: list[dict[str, str]], *, ended: bool = False) -> list[int]:
    """The ids as vLLM makes them of a chat request: a text, of which no more tokens are made."""
    text = tokenizer.apply_chat_template(
        [*map(dict, messages)],
        chat_template=template_of(tokenizer),
        add_generation_prompt=not ended,
        tokenize=False,
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_request_has_the_ids_of_training(make: Any) -> None:
    tokenizer = make()
    made = template(tokenizer, "vllm")
    is_plain = dialogue_of(tokenizer.get_vocab()) is PLAIN

    def check(messages: list[dict[str, str]]) -> None:
        served = served_ids(tokenizer, messages)
        trained = made.encode({"messages": [*map(dict, messages)]})["input_ids"]
        assert tokenizer.decode(served) == tokenizer.decode(trained)
        # the end of a reply in plain lines may be in one token with what follows
        assert served == trained or (is_plain and SAID in messages)

    check_each(CONVERSATIONS, check)


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_reply_ends_as_in_training(make: Any) -> None:
    tokenizer = make()
    made = template(tokenizer, "train")
    trained = made.encode({"messages": [dict(ASKED), dict(SAID)]})["input_ids"]
    served = served_ids(tokenizer, [ASKED, SAID], ended=True)
    assert tokenizer.decode(served) == tokenizer.decode(trained)
    # the first token after the reply is one at which a server stops, as ms-swift's rollouts do
    reply = tokenizer(SAID["content"], add_special_tokens=False)["input_ids"]
    begin = next(i for i in range(len(trained)) if trained[i : i + len(reply)] == reply)
    assert trained[begin + len(reply)] in end_tokens(tokenizer)


def test_a_conversation_that_training_has_not_is_refused() -> None:
    from jinja2 import TemplateError

    tokenizer = tokenizer_with()
    for messages in ([SYSTEM], [SAID, ASKED], [ASKED, SYSTEM], [ASKED, {"role": "tool"}]):
        with pytest.raises(TemplateError):
            served_ids(tokenizer, messages)


def test_the_file_needs_no_encoding() -> None:
    """vLLM opens it in that of its locale, and the control tokens of R1 are not ASCII."""
    assert R1.own_token not in chat_template(R1, "", "")
    assert chat_template(R1, "", "").isascii()
