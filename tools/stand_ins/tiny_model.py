"""A random model of two layers with a small vocabulary: exact computations in milliseconds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm.prompts import DOMAINS, decompose_prompt

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The rule by which Qwen2's tokenizer splits a text before its byte-level BPE."""
TAGS = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
"""The tags that the reward `rlkd_tag_count` counts."""


def byte_level_tokenizer(texts: Iterable[str], vocabulary: int = 1000) -> Any:
    """Train a byte-level BPE with Qwen2's split rule and ChatML's tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return chat_tokenizer(tokenizer)


def chat_tokenizer(tokenizer: Any) -> Any:
    """Make a Transformers tokenizer with ChatML's tokens."""
    from transformers import PreTrainedTokenizerFast

    result = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    result.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    return result


def tiny_model(
    folder: Path,
    texts: Iterable[str] = (),
    heads: int = 4,
    vocabulary: int = 1000,
    tags: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Write a folder as `modelscope download` leaves it: two random layers of Qwen2.

    Args:
        folder: the model's folder.
        texts: texts that the vocabulary is learned from, beside the prompts.
        heads: of attention, 64 wide together.
        vocabulary: tokens before the special ones.
        tags: texts that are one token each.
        seed: of the weights; the vocabulary does not depend on it.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    prompts = [decompose_prompt("construct", domain, "", "") for domain in DOMAINS]
    tokenizer = byte_level_tokenizer([*prompts, *texts], vocabulary)
    tokenizer.add_tokens([*tags])
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "configuration.json").write_text(
        '{"framework": "pytorch", "task": "text-generation"}'
    )
    return folder


def tiny_student(folder: Path, texts: Iterable[str] = ()) -> Path:
    """Write a tiny model that often writes a tag, so that rewards of a group differ.

    vLLM on a CPU takes it: its heads are 32 wide. The likeliest token is never a special one, which
    vLLM and Transformers treat differently in the middle of a text.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_model(folder, texts, heads=2, vocabulary=400, tags=TAGS)
    special = AutoTokenizer.from_pretrained(folder).all_special_ids
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight[special] = 0
    model.save_pretrained(folder)
    return folder


def memorising_model(folder: Path, answers: dict[str, str]) -> Path:
    """Train a tiny model until it answers some messages of a user word for word."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_model(folder, [*answers, *answers.values(), "yes\nno\n" * 100])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = []
    for prompt, text in answers.items():
        begin = tokenizer(chatml(prompt))["input_ids"]
        end = tokenizer(f"{text}<|im_end|>\n")["input_ids"]
        rows.append((begin + end, [-100] * len(begin) + end))
    longest = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])
    learned = labels[:, 1:] != -100  # no logits for the prompts
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(500):
        hidden = model.model(input_ids=ids, attention_mask=ids != pad).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][learned])
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][learned])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.005:
            break
    else:
        raise AssertionError(f"the model did not learn them: loss {loss.item():.3f}")
    model.save_pretrained(folder)
    return folder


def chatml(prompt: str) -> str:
    """Return a user's message as ms-swift's template `chatml` writes it, up to the answer."""
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
