"""The small engine's attention beside transformers' own, in one run.

    python -m benchmarks.grouped_attention [--batch 16] [--prompt 900] [--tokens 32]

Generates greedily from random prompts, one of them half as long and padded, in the type that this
CPU is fast in. Prints the seconds of a token for each attention, their ratio, and the share of
tokens that are the same.
"""

import argparse
import time

import torch
from transformers import AutoModelForCausalLM

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from rlkd_plugin.swift_hooks.local.grouped_attention import share_keys
from tools.stand_ins.places import MODEL


def main() -> None:
    """Generate with both attentions and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=900)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=getattr(torch, cpu_dtype())).eval()
    prompts = torch.randint(3, model.config.vocab_size, (options.batch, options.prompt))
    mask = torch.ones_like(prompts)
    mask[0, : options.prompt // 2] = 0  # as in any batch of unlike prompts

    def generate(tokens: int) -> tuple[torch.Tensor, float]:
        begin = time.monotonic()
        with torch.no_grad():
            text = model.generate(  # pyright: ignore[reportAttributeAccessIssue]  # their own Protocol
                prompts,
                attention_mask=mask,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
            )
        return text, time.monotonic() - begin

    texts, seconds = [], []
    for name in ("transformers", "grouped"):
        if name == "grouped":
            share_keys(model)
        _, first = generate(1)
        text, whole = generate(options.tokens + 1)
        texts.append(text[:, options.prompt :])
        seconds.append((whole - first) / options.tokens)
        print(f"{name}: {seconds[-1]:.3f} s a token", flush=True)
    same = (texts[0] == texts[1]).float().mean().item()
    print(f"{cpu_dtype()}: ratio {seconds[1] / seconds[0]:.2f}, {same:.1%} of the tokens the same")


if __name__ == "__main__":
    main()
