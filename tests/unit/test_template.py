"""`--template rlkd_r1` through ms-swift's own template machinery, and the reward for its tags."""

import copy
from typing import Any

import pytest

from rlkd_plugin.swift_hooks.rewards.tag_count import RlkdTagCount, tag_count
from tests.support.templates import template, tokenizer_with

COMPLETION = "<think>\n1 + 1 = 2\n</think>\n<answer>\n\\boxed{2}\n</answer>"
MESSAGES = [
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": COMPLETION},
]


def encoded(made: Any, messages: list[dict[str, str]]) -> tuple[str, str]:
    """The text of a conversation, and the part of it that is trained on."""
    row = made.encode({"messages": copy.deepcopy(messages)})
    labels = [token for token in row.get("labels") or [] if token >= 0]
    return made.tokenizer.decode(row["input_ids"]), made.tokenizer.decode(labels)


def test_a_chatml_model_keeps_its_form() -> None:
    """SmolLM2 and Qwen: im_start and im_end, and the reply with its end is trained on."""
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM as SYSTEM

    text, trained = encoded(template(tokenizer_with(), "train"), MESSAGES)
    assert text == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n1 + 1?<|im_end|>\n"
        f"<|im_start|>assistant\n{COMPLETION}<|im_end|>\n"
    )
    assert trained == f"{COMPLETION}<|im_end|>\n"


R1_TOKENS = ("<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")


def test_an_r1_model_keeps_its_form_and_nothing_is_prefilled() -> None:
    """Its tokens, one beginning of sentence, and a prompt that ends at the assistant's turn."""
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM as SYSTEM

    prompt = f"<｜begin▁of▁sentence｜>{SYSTEM}<｜User｜>1 + 1?<｜Assistant｜>"
    made = template(tokenizer_with(*R1_TOKENS), "transformers")
    assert encoded(made, MESSAGES[:1])[0] == prompt
    made.set_mode("train")
    assert encoded(made, MESSAGES) == (
        f"{prompt}{COMPLETION}<｜end▁of▁sentence｜>",
        f"{COMPLETION}<｜end▁of▁sentence｜>",
    )
    assert "<｜end▁of▁sentence｜>" in made.template_meta.stop_words


def test_a_base_model_without_a_chat_gets_plain_lines() -> None:
    """GPT-2's vocabulary has no word for a turn."""
    from rlkd_plugin.gsrm.prompts import R1_SYSTEM as SYSTEM

    tokenizer = tokenizer_with()
    known = {k: v for k, v in tokenizer.get_vocab().items() if k != "<|im_start|>"}
    tokenizer.get_vocab = lambda: known
    text, trained = encoded(template(tokenizer, "train"), MESSAGES)
    end = tokenizer.eos_token
    assert text == f"{SYSTEM}\n\nUser: 1 + 1?\n\nAssistant: {COMPLETION}{end}"
    assert trained == f"{COMPLETION}{end}"


def test_another_system_prompt_may_be_given() -> None:
    """`--system` goes before ours."""
    made = template(tokenizer_with(), "transformers", default_system="Be brief.")
    assert encoded(made, MESSAGES[:1])[0].startswith("<|im_start|>system\nBe brief.<|im_end|>")


def test_what_the_prompt_asks_for_is_what_the_rewards_pay() -> None:
    """The form in the system prompt earns ms-swift's `format`, and all four tags."""
    from swift.rewards import orms

    from rlkd_plugin.gsrm.prompts import R1_SYSTEM as SYSTEM

    form = SYSTEM.partition(":\n")[2]
    assert orms["format"]()([form]) == [1.0]
    assert tag_count(form) == 1.0


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        (COMPLETION, 1.0),
        (COMPLETION.removeprefix("<think>\n"), 0.75),  # prefilled, or forgotten
        (COMPLETION.removesuffix("</answer>"), 0.75),  # cut off
        ("<think>\n1 + 1 = 2\n</think>\n2", 0.5),
        (f"<think>\n{COMPLETION}", 0.75),  # twice is not in place
        ("<think>1</think><answer>2</answer>", 0.0),  # not on lines of their own
        ("It is 2.", 0.0),
        ("", 0.0),
    ],
)
def test_each_tag_in_place_is_worth_a_quarter(completion: str, reward: float) -> None:
    """As the reference recipe counts them."""
    assert RlkdTagCount()([completion], solution=["2"]) == [reward]
