"""Tokenizers with other control tokens, and the registered template for them."""

from functools import cache
from typing import Any

from tools.stand_ins.places import MODEL


def tokenizer_with(*tokens: str) -> Any:
    """The small model's tokenizer, with other control tokens in place of its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    return tokenizer


@cache
def small_model() -> tuple[Any, Any]:
    """What ms-swift knows of the small model."""
    from swift import get_processor

    processor = get_processor(str(MODEL), model_type="llama")
    return processor.model_info, processor.model_meta


def template(tokenizer: Any, mode: str, **options: Any) -> Any:
    """The registered template for a processor whose model ms-swift has identified."""
    from swift import get_template

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    tokenizer.model_info, tokenizer.model_meta = small_model()
    made = get_template(tokenizer, template_type="rlkd_r1", **options)
    made.set_mode(mode)
    return made
