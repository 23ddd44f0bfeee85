"""Makes the student: an untrained Llama of a million weights, with a tokenizer of its own."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.miniature.problems import SMALL, Generator, path_of

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS = 700
CONTEXT = 512


def make_student(folder: Path, seed: int = 0) -> None:
    """Write an untrained student into a folder, in the form that ms-swift loads."""
    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for each word and number of the problems, and each byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    problems = Generator(0, SMALL).draw(4000, (1, 2, 3, 4))
    texts = [text for p in problems for text in (p.text, p.path, path_of(p.steps, 1))]
    tokenizer.train_from_iterator(
        [*texts, "user", "assistant", "system"] * 2,
        trainers.BpeTrainer(
            vocab_size=WORDS,
            special_tokens=list(CONTROL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=CONTEXT,
    )
