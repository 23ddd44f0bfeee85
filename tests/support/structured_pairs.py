"""R-S pairs of different lengths, and the two losses of section 3.1 computed plainly."""

import re
from typing import Any

import torch

from rlkd_plugin.gsrm import Step, Structure, render_structure
from rlkd_plugin.rlkd_data.rows.hub_rows import gsrm_sft_row
from tools.stand_ins.hub_shapes import pair

META = re.compile(r"\[Meta-reasoning \d\]: .*?(?=\[Sub-problem)", re.DOTALL)


def raw_pairs(count: int) -> list[dict[str, Any]]:
    """R-S pairs of different lengths."""
    steps = [
        Step(f"Look at part {n}, as it comes {'next ' * n}.", f"What is {n} + 1?", str(n + 1))
        for n in range(4)
    ]
    return [
        pair(n, structure=render_structure(Structure(tuple(steps[: 1 + n % 4]), str(n % 4 + 1))))
        for n in range(count)
    ]


def prompt_of(user: str) -> str:
    """A user's message in the template that ms-swift takes for Qwen2.5-7B-Instruct."""
    system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def losses(
    network: Any, tokenizer: Any, pairs: list[dict[str, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """L_M and L_QA of a batch: one row after the other, the sets by an expression of its own."""
    sums = [torch.zeros((), dtype=torch.float64) for _ in range(2)]
    counts = [0, 0]
    for raw in pairs:
        user, reply = (m["content"] for m in gsrm_sft_row(raw)["messages"])
        prompt = prompt_of(user)
        text = f"{prompt}{reply}<|im_end|>\n"
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        meta = [range(m.start(), m.end()) for m in META.finditer(text, len(prompt))]
        ids = torch.tensor([encoded["input_ids"]])
        logits = network(ids).logits[0]
        each = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
        for loss, (start, end) in zip(each, encoded["offset_mapping"][1:], strict=True):
            if start >= len(prompt):
                kind = 0 if any(end - 1 in span for span in meta) else 1
                sums[kind] = sums[kind] + loss
                counts[kind] += 1
    return sums[0] / counts[0], sums[1] / counts[1]
