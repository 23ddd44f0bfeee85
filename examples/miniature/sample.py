"""Draws completions from a checkpoint of the student, many at once, and says which are right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH = 64
"""Completions drawn at once: with more, the cache of keys and values is copied more slowly."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn: `samples` a problem, of at most `max_tokens` tokens."""

    samples: int = 8
    max_tokens: int = 120
    temperature: float = 1.0
    seed: int = 0


class Completion(NamedTuple):
    """A completion, and whether it ended at the limit of tokens."""

    text: str
    cut_off: bool


def draw(folder: Path, problems: Sequence[str], sampling: Sampling) -> list[list[Completion]]:
    """Return the completions of each problem."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    torch.manual_seed(sampling.seed)
    drawn: list[Completion] = []
    chunk = max(1, BATCH // sampling.samples)
    for first in range(0, len(problems), chunk):
        prompts = [_prompt(text) for text in problems[first : first + chunk]]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            ids = model.generate(
                **inputs,
                do_sample=True,
                temperature=sampling.temperature,
                top_k=0,
                top_p=1.0,
                num_return_sequences=sampling.samples,
                max_new_tokens=sampling.max_tokens,
            )
        new = ids[:, inputs["input_ids"].shape[1] :]
        ended = (new == tokenizer.eos_token_id).any(dim=1).tolist()
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        drawn += [Completion(text, not end) for text, end in zip(texts, ended, strict=True)]
    n = sampling.samples
    return [drawn[i : i + n] for i in range(0, len(drawn), n)]


def _prompt(problem: str) -> str:
    """Return a problem as the template `chatml` writes it."""
    return f"<|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n"
